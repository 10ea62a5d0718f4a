"""Published text encoders at their real sizes: files load, and the library's own models say the same."""

import pytest
import torch
from safetensors.torch import save_file

from deixis.core.errors import ConfigError, DataError
from deixis.core.undrawn import Undrawn
from deixis.language.tokens import encode
from deixis.language.word_pieces import byte_pair_ids, encode_pieces, read_byte_pairs, read_word_pieces
from models.image_text.clip_image_text import CLIPImageText
from models.image_text.judges import load_image_text
from models.text.bert import BERT, BERTConfig
from models.text.clip_text import CLIPText, CLIPTextConfig
from models.text.glove import read_vectors, use_vectors
from models.text.gru_attention import GRUAttentionEncoder
from tests.factories import TINY_TEXT
from tests.models.published.factories import CLIP, close, randomise, squares, standard
from tests.models.published.layouts import clip_text

pytestmark = pytest.mark.slow

START, END = 49406, 49407
MERGES = ["#version: 0.2", "m a", "ma n</w>", "r e", "re d</w>", "l e", "le f", "lef t</w>"]
PIECES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "the", "man", "red", "##dish", "left", "of"]


def loaded(kind, config, vocabulary, state):
    """A model with the weights of a file."""
    with Undrawn():
        model = kind(config, vocabulary).eval()
    model.load_state_dict(state, strict=True)
    return model


def phrases(length=20):
    """Token ids of two phrases, as CLIP's tokenizer gives them."""
    ids = torch.zeros(2, length, dtype=torch.long)
    ids[0, :5] = torch.tensor([START, 320, 1125, 2368, END])
    ids[1, :] = torch.tensor([START, *range(1000, 1000 + length - 2), END])
    return ids


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """transformers' CLIP ViT-B/32 and its own file of it."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    reference = randomise(CLIPModel(CLIPConfig())).eval()
    assert sum(p.numel() for p in reference.parameters()) == 151_277_313  # the published model
    reference.save_pretrained(folder)
    return reference, folder


@torch.no_grad()
def test_clip_text_says_what_transformers_says(clip):
    reference, folder = clip
    config, state = CLIPText.read_published(folder)
    assert config == CLIPTextConfig(width=512)
    model = loaded(CLIPText, config, (), state)
    assert sum(p.numel() for p in model.parameters()) == 63_428_096
    actual = model(phrases())
    expected = reference.text_model(input_ids=phrases())
    close(actual.words[0, :5], expected.last_hidden_state[0, :5])
    close(actual.flat, reference.text_projection(expected.pooler_output))
    assert actual.is_pad[0].tolist() == [False] * 5 + [True] * 15
    longer = torch.cat([phrases(), torch.zeros(2, 7, dtype=torch.long)], 1)
    torch.testing.assert_close(model(longer).flat, actual.flat)  # padding says nothing


@torch.no_grad()
def test_clip_of_a_resnet_50_has_the_published_text_tower(tmp_path):
    """OpenAI's names; the layer is written out, for no library has this tower."""
    torch.manual_seed(0)
    published = clip_text() | {"visual.layer1.0.conv1.weight": torch.ones(64, 64, 1, 1)}
    save_file(published, tmp_path / "open_clip_model.safetensors")
    config, state = CLIPText.read_published(tmp_path)
    assert config == CLIPTextConfig()
    model = loaded(CLIPText, config, (), state)
    close(model(phrases()).flat, plain_clip_text(published, phrases()))


def plain_clip_text(tensors, tokens):
    """CLIP's text tower over OpenAI's tensors."""
    x = tensors["token_embedding.weight"][tokens] + tensors["positional_embedding"][: tokens.shape[1]]
    later = torch.full((tokens.shape[1], tokens.shape[1]), -torch.inf).triu(1)

    def norm(name, x):
        return torch.nn.functional.layer_norm(x, (512,), tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    for layer in range(12):
        name = f"transformer.resblocks.{layer}."
        mixed = norm(f"{name}ln_1", x) @ tensors[f"{name}attn.in_proj_weight"].T + tensors[f"{name}attn.in_proj_bias"]
        q, k, v = (part.unflatten(2, (8, 64)).transpose(1, 2) for part in mixed.chunk(3, -1))
        read = ((q @ k.transpose(2, 3) / 8 + later).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + read @ tensors[f"{name}attn.out_proj.weight"].T + tensors[f"{name}attn.out_proj.bias"]
        hidden = norm(f"{name}ln_2", x) @ tensors[f"{name}mlp.c_fc.weight"].T + tensors[f"{name}mlp.c_fc.bias"]
        hidden = hidden * (1.702 * hidden).sigmoid()
        x = x + hidden @ tensors[f"{name}mlp.c_proj.weight"].T + tensors[f"{name}mlp.c_proj.bias"]
    last = norm("ln_final", x)[torch.arange(len(tokens)), tokens.argmax(1)]
    return last @ tensors["text_projection"]


@torch.no_grad()
def test_clip_image_text_says_what_transformers_says(clip):
    reference, folder = clip
    config, state = CLIPImageText.read_published(folder)
    model = loaded(CLIPImageText, config, MERGES, state)
    assert sum(p.numel() for p in model.parameters()) == 151_277_313 - 1  # but for the temperature
    images = squares(320, batch=2)
    resized = torch.nn.functional.interpolate(images.float(), (224, 224), mode="bilinear", align_corners=True)
    expected = reference(input_ids=phrases(), pixel_values=standard(resized, *CLIP))
    close(model.images(images.float()), expected.image_embeds)
    close(model.texts(phrases()), expected.text_embeds)


def test_a_gradient_passes_to_the_images():
    model = tiny_clip()
    images = torch.rand(1, 3, 20, 20, requires_grad=True)
    model.images(255 * images).sum().backward()
    assert images.grad.abs().sum() > 0


def tiny_clip():
    from models.experts.clip_vit import CLIPViTConfig

    image = CLIPViTConfig(input_size=16, patch=8, width=64, depth=1, heads=1)
    text = CLIPTextConfig(width=32, inner_width=64, layers=1, heads=1, tokens=len(byte_pair_ids(MERGES)))
    return CLIPImageText(CLIPImageText.Config(image=image, text=text), MERGES)


@torch.no_grad()
def test_image_text_is_loaded_by_the_kind_in_its_card(tmp_path):
    from dataclasses import asdict

    from deixis.core.checkpoints import save_checkpoint

    model = tiny_clip().eval()
    config = CLIPImageText.Config(image=model.expert.config, text=model.text_encoder.config)
    save_checkpoint(model, tmp_path / "judge", config={"kind": "clip_image_text", "model": asdict(config)})
    loaded = load_image_text("judge", tmp_path, MERGES, torch.device("cpu"))
    tokens = encode(["red man", "left"], MERGES, 6)
    torch.testing.assert_close(loaded.texts(tokens), model.texts(tokens))
    assert not any(p.requires_grad for p in loaded.parameters())
    (tmp_path / "expert" / "matcher").mkdir(parents=True)
    with pytest.raises(ConfigError, match="an expert that reads words, but this vocabulary is one of byte pairs"):
        load_image_text("expert", tmp_path, MERGES, torch.device("cpu"))
    with pytest.raises(ConfigError, match="CLIP reads byte pairs, but this vocabulary is one of 3 words"):
        load_image_text("judge", tmp_path, ["[PAD]", "[UNK]", "[CLS]"], torch.device("cpu"))


def test_byte_pairs_have_clips_ids():
    ids = byte_pair_ids(MERGES)
    assert [ids["!"], ids["a"], ids["!</w>"], ids["ma"]] == [0, 64, 256, 512]
    merges = ["#version: 0.2", *[f"{i} x" for i in range(48894)]]  # as many as CLIP has
    assert byte_pair_ids(merges)["<|startoftext|>"] == START
    assert byte_pair_ids(merges)["<|endoftext|>"] == END


def test_8_the_last_of_twenty_ids_is_the_end():
    letters = [chr(n) for n in (*range(33, 127), *range(161, 173), *range(174, 256))]
    pairs = [f"{a} {b}{end}" for end in ("", "</w>") for a in letters for b in letters]
    merges = ["#version: 0.2", *pairs[:48894]]  # as many as CLIP has, so that ids are CLIP's
    ids = encode(["red man " * 15, "ball"], merges, 20)
    assert ids[:, 0].tolist() == [START] * 2
    assert ids[0, -1].item() == END and END in ids[1].tolist()


def test_byte_pairs_of_a_phrase():
    ids = byte_pair_ids(MERGES)
    first, last = ids["<|startoftext|>"], ids["<|endoftext|>"]
    encoded = encode(["red man left", "Mad"], MERGES, 6)
    assert encoded[0].tolist() == [first, ids["red</w>"], ids["man</w>"], ids["left</w>"], last, 0]
    assert encoded[1].tolist() == [first, ids["ma"], ids["d</w>"], last, 0, 0]


@torch.no_grad()
def test_8_a_phrase_without_its_last_token_reads_like_any_other():
    torch.manual_seed(0)
    tower = CLIPText(CLIPTextConfig(width=8, inner_width=16, layers=2, heads=2), ()).eval()
    cut = torch.randint(1, START, (2, 20))
    cut[:, 0] = START
    assert cut.argmax(1).tolist() == [0, 0]
    encoded = tower(cut)
    torch.testing.assert_close(encoded.flat[0], encoded.flat[1])  # both are the state of the first token
    cut[:, -1] = END
    assert not torch.allclose(*tower(cut).flat)


def test_a_phrase_that_is_cut_keeps_its_last_token():
    """TRIS's release cuts it off: the largest id left is then the first token's, whose state has read nothing."""
    whole = encode_pieces(["red man " * 15], MERGES, 77)
    cut_as_released, fixed = (encode_pieces(["red man " * 15], MERGES, 20, keep_end=keep) for keep in (False, True))
    torch.testing.assert_close(cut_as_released, whole[:, :20])
    assert cut_as_released.argmax(1).item() == 0
    assert fixed.argmax(1).item() == 19 and fixed[0, 19] == whole.max()
    torch.testing.assert_close(fixed[:, :19], whole[:, :19])


def test_files_of_pieces_are_read_and_checked(tmp_path):
    (tmp_path / "merges.txt").write_text("\n".join(MERGES) + "\n", encoding="utf-8")
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    assert read_byte_pairs(tmp_path) == MERGES
    assert read_word_pieces(tmp_path) == PIECES
    with pytest.raises(DataError, match=r"not BERT's vocab.txt: \[PAD\], \[UNK\]"):
        read_word_pieces(tmp_path / "merges.txt")
    with pytest.raises(DataError, match="no #version on the first line"):
        read_byte_pairs(tmp_path / "vocab.txt")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2 is 'a b c', expected two pieces"):
        read_byte_pairs(tmp_path)
    with pytest.raises(DataError, match="No such file"):
        read_byte_pairs(tmp_path / "nowhere.txt")


def test_word_pieces_of_a_phrase():
    ids = encode(["the reddish man", "left of zebra", "the man " * 9], PIECES, 7)
    assert ids.tolist() == [[3, 5, 7, 8, 6, 4, 0], [3, 9, 10, 2, 4, 0, 0], [3, 5, 6, 5, 6, 5, 4]]


@pytest.mark.parametrize("older_names", [False, True])
@torch.no_grad()
def test_bert_base_from_its_published_file(tmp_path, older_names):
    from transformers import BertConfig, BertForPreTraining

    layers = 2 if older_names else 12
    reference = randomise(BertForPreTraining(BertConfig(num_hidden_layers=layers))).eval()
    tensors = {name: tensor.contiguous().clone() for name, tensor in reference.state_dict().items()}
    if older_names:  # as bert-base-uncased still has them
        for new, old in ((".LayerNorm.weight", ".LayerNorm.gamma"), (".LayerNorm.bias", ".LayerNorm.beta")):
            tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    config, state = BERT.read_published(tmp_path)
    assert config == BERTConfig(layers=layers)
    model = loaded(BERT, config, (), state)
    tokens = torch.tensor([[101, 1996, 2158, 102, 0, 0], [101, 2187, 1997, 1996, 2417, 102]])
    expected = reference.bert(input_ids=tokens, attention_mask=(tokens != 0).long()).last_hidden_state
    close(model(tokens, tokens != 0)[tokens != 0], expected[tokens != 0])


def glove(tmp_path, text):
    path = tmp_path / "glove.txt"
    path.write_text(text, encoding="utf-8")
    return path


WORDS = ["[PAD]", "[UNK]", "[CLS]", "left", "man", "zebra", "."]
GOOD = "the 0 0 0\nman 1 -2.5 3e-1\n. . . 7 7 7\nleft 4 5 6\nman 9 9 9\n"


def test_vectors_of_a_file(tmp_path):
    table = read_vectors(glove(tmp_path, GOOD), WORDS, 3)
    expected = [[0.0] * 3] * 3 + [[4.0, 5.0, 6.0], [1.0, -2.5, 0.3]] + [[0.0] * 3] * 2
    torch.testing.assert_close(table, torch.tensor(expected))
    with_head = read_vectors(glove(tmp_path, "5 3\n" + GOOD), WORDS, 3)
    torch.testing.assert_close(with_head, table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 0 0\nman 1 2\n", "line 1 has 2 numbers, the word table is 3 wide.*word_width to 2"),
        ("the 0 0 0\nthe 0 0 0\nthe 0 0 0\nman 1 2\n", "line 4 has 2 numbers, expected 3"),
        ("the 0 0 0\nman 1 2 x\n", "line 2: could not convert string to float"),
        ("the 0 0 0\nman 1 2 nan\n", "line 2 has a number that is not finite"),
        ("the 0 0 0\n", "none of the 4 words of the vocabulary"),
    ],
    ids=["width", "cut short", "no number", "nan", "no word"],
)
def test_a_bad_file_of_vectors_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_vectors(glove(tmp_path, text), WORDS, 3)


def test_a_missing_file_of_vectors_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"No such file.*Put the file of word vectors there"):
        read_vectors(tmp_path / "nowhere.txt", WORDS, 3)


def test_vectors_fill_a_frozen_word_table(tmp_path):
    from dataclasses import replace

    encoder = GRUAttentionEncoder(replace(TINY_TEXT, word_width=3), WORDS)
    assert use_vectors(torch.nn.Sequential(encoder), glove(tmp_path, GOOD)) == 2
    assert encoder.embedding.weight[4].tolist() == pytest.approx([1.0, -2.5, 0.3])
    assert not encoder.embedding.weight.requires_grad
    with pytest.raises(ConfigError, match="Linear has no frozen word table"):
        use_vectors(torch.nn.Linear(1, 1), tmp_path / "glove.txt")
