"""What lies in the models folder, who uses it, and how much becomes free when it goes. Pure."""
