from gallery.hub.choices import GGUF, SET, SINGLE, choices_in, parts_beside, quantisation_of, suggested
from gallery.hub.listing import RepoFile

GIB = 1 << 30


def test_quantisations_are_choices_from_small_to_large_and_companions_are_apart():
    found = choices_in(
        [
            RepoFile("m-Q8_0.gguf", 8 * GIB),
            RepoFile("m-Q4_K_M.gguf", 4 * GIB),
            RepoFile("mmproj-F16.gguf", GIB),
            RepoFile("m.imatrix.gguf", 1),
            RepoFile("README.md", 1),
        ]
    )
    assert [(choice.label, choice.kind) for choice in found.models] == [("Q4_K_M", GGUF), ("Q8_0", GGUF)]
    assert [file.path for file in found.companions] == ["mmproj-F16.gguf"]


def test_the_parts_of_a_split_file_are_one_choice_whose_first_part_is_loaded():
    parts = [RepoFile(f"Q8_0/m-Q8_0-{n:05}-of-00003.gguf", n) for n in (1, 2, 3)]
    (choice,) = choices_in(parts).models
    assert (choice.label, choice.size, choice.missing, choice.first) == ("Q8_0", 6, 0, parts[0])
    (broken,) = choices_in(parts[:2]).models
    assert broken.missing == 1


def test_safetensors_are_taken_as_a_whole_with_what_belongs_to_them():
    found = choices_in(
        [
            RepoFile("model-00001-of-00002.safetensors", 5),
            RepoFile("model-00002-of-00002.safetensors", 5),
            RepoFile("consolidated.safetensors", 10),
            RepoFile("config.json", 1),
            RepoFile("tokenizer.model", 1),
            RepoFile("picture.png", 1),
        ]
    )
    (choice,) = found.models
    assert choice.kind == SET
    assert {file.name for file in choice.files} == {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "config.json",
        "tokenizer.model",
    }


def test_a_repository_of_several_models_is_one_set():
    found = choices_in(
        [
            RepoFile("model_index.json", 1),
            RepoFile("unet/diffusion.safetensors", 5),
            RepoFile("vae/vae.safetensors", 3),
            RepoFile("vae/config.json", 1),
            RepoFile("whole.safetensors", 9),
        ]
    )
    (choice,) = found.models
    assert {file.path for file in choice.files} == {
        "model_index.json",
        "unet/diffusion.safetensors",
        "vae/vae.safetensors",
        "vae/config.json",
    }


def test_other_weights_are_choices_of_their_own():
    (choice,) = choices_in([RepoFile("ggml-base.bin", 5), RepoFile("training_args.bin", 1)]).models
    assert (choice.kind, choice.key) == (SINGLE, "ggml-base.bin")


def test_the_largest_that_fits_is_suggested_and_a_size_nobody_knows_is_not():
    models = choices_in(
        [RepoFile("m-Q4_K_M.gguf", 4), RepoFile("m-Q8_0.gguf", 8), RepoFile("m-F16.gguf", 16), RepoFile("m-F32.gguf")]
    ).models
    assert suggested(models, lambda size: size <= 8).label == "Q8_0"
    assert suggested(models, lambda size: False).label == "Q4_K_M"
    assert suggested(models, lambda size: None).label == "Q4_K_M"
    assert suggested([], lambda size: True) is None


def test_the_quantisation_is_read_from_the_names_people_give():
    assert quantisation_of("Meta-Llama-3-8B.Q4_K_M.gguf") == "Q4_K_M"
    assert quantisation_of("qwen-UD-IQ2_XXS.gguf") == "UD-IQ2_XXS"
    assert quantisation_of("m-bf16.gguf") == "BF16"
    assert quantisation_of("gpt-oss-20b-mxfp4.gguf") == "MXFP4"
    assert quantisation_of("llama.gguf") == ""
    assert quantisation_of("qwen2.gguf") == ""


def test_the_names_of_all_parts_follow_from_one():
    assert parts_beside("x-00002-of-00002.gguf") == ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"]
    assert parts_beside("x.gguf") == ["x.gguf"]
    assert parts_beside("x-00001-of-99999.gguf") == ["x-00001-of-99999.gguf"]


def test_five_thousand_files_are_sorted_out_at_once():
    many = [RepoFile(f"d{n % 50}/m-{n}-Q4_0.gguf", n) for n in range(5000)]
    assert len(choices_in(many).models) == 5000
