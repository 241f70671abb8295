#!/bin/sh
# Makes the gRPC stubs anew from the one .proto file: typed ones for the console, bare ones for the backend, which
# shares no code with it. Needs grpcio-tools 1.81.1, whose stubs work with every protobuf from 6.33.5 on, and
# mypy-protobuf, both in the environment of the `python3` that comes first in PATH.
set -eu
cd "$(dirname "$0")/.."

source=models/backend/proto
backend=backends/llama-cpp/stubs
mkdir -p "$backend"

python3 -m grpc_tools.protoc -I "$source" \
    --python_out="$source" --grpc_python_out="$source" \
    --mypy_out="quiet:$source" --mypy_grpc_out="quiet:$source" "$source/backend.proto"
python3 -m grpc_tools.protoc -I "$source" --python_out="$backend" --grpc_python_out="$backend" "$source/backend.proto"

# Generated code imports its neighbour as if it lay on sys.path; here it lies in a package.
for file in "$source/backend_pb2_grpc.py" "$source/backend_pb2_grpc.pyi" "$backend/backend_pb2_grpc.py"; do
    sed -i -E 's/^import backend_pb2( as [A-Za-z_0-9]+)?$/from . import backend_pb2\1/' "$file"
done
for folder in "$source" "$backend"; do : >"$folder/__init__.py"; done
