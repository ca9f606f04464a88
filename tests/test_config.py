"""From `key=value` words to a configuration: the order of the layers, and one line for every mistake."""

import pytest

from lightning_moa.config import StudyConfig, parse
from lightning_moa.data.configs import CONFIGS, HHRLHFConfig, PairsConfig, SyntheticConfig
from lightning_moa.errors import UserError
from lightning_moa.help import describe
from lightning_moa.methods.products import DPS_DPO, LINEAR_PPO
from lightning_moa.methods.sections import all_sections
from lightning_moa.study.chosen import schema_of

SCHEMA = schema_of({"dps": DPS_DPO})
"""A study's with the sections `dpo` and `adapter`."""

SMALL = "data: {name: synthetic, pairs: 30}\ndpo: {lr: 0.5, steps: 7}\nevaluation: {pairs: 9}\n"
TEXT = "data: {max_length: 96, max_response_length: 48}\nevaluation: {pairs: 3}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "smoke.yaml").write_text(SMALL)
    (tmp_path / "smoke.text.yaml").write_text(TEXT)
    (tmp_path / "tiny.yaml").write_text("seeds: [4]\n")
    return tmp_path


def of(folder, *words):
    return parse(SCHEMA, ["scale=smoke", *words], folder)


def test_later_layers_win(folder):
    config = of(folder, "dpo.steps=8")
    assert config.scale == "smoke"
    assert config.dpo.beta == 0.1  # the dataclass
    assert config.dpo.lr == 0.5  # the scale's file
    assert config.dpo.steps == 8  # the command line
    assert isinstance(config.data, SyntheticConfig)
    assert config.data.pairs == 30


def test_the_scale_is_tiny_unless_another_is_asked_for(folder):
    assert parse(SCHEMA, [], folder).seeds == [4]


def test_data_chooses_the_options_and_the_text_layer(folder):
    config = of(folder, "data=pairs", "data.path=some/file.jsonl", "data.labels.good=better")
    assert isinstance(config.data, PairsConfig)
    assert config.data.name == "pairs"
    assert config.data.path == "some/file.jsonl"
    assert config.data.labels == {"good": "better"}
    assert config.data.max_length == 96
    assert config.evaluation.pairs == 3
    assert config.dpo.lr == 0.5


def test_the_file_may_choose_the_data(folder):
    (folder / "gpu.yaml").write_text("data: {name: hh_rlhf, subsets: [helpful-base]}\n")
    config = parse(SCHEMA, ["scale=gpu"], folder)
    assert isinstance(config.data, HHRLHFConfig)
    assert config.data.subsets == ["helpful-base"]
    # Another data set on the command line leaves the file's words about the first one aside.
    assert parse(SCHEMA, ["scale=gpu", "data=synthetic"], folder).data == SyntheticConfig()


def test_rewards_of_the_files_own_objectives_go_with_them(folder):
    (folder / "gpu.yaml").write_text(
        "data: {name: hh_rlhf}\nobjectives: [short, kind]\n"
        "ppo: {rewards: {short: 'my.rules:short', helpful: 'my.rules:helpful'}, lr: 0.5}\n"
    )
    schema = schema_of({"linear": LINEAR_PPO})
    rewards = {"short": "my.rules:short", "helpful": "my.rules:helpful"}
    assert parse(schema, ["scale=gpu"], folder).ppo.rewards == rewards
    other = parse(schema, ["scale=gpu", "data=synthetic"], folder)
    assert (other.objectives, other.ppo.lr) == (None, 0.5)
    assert other.ppo.rewards == {"helpful": "my.rules:helpful"}


@pytest.mark.parametrize(
    ("key", "given", "taken"),
    [
        ("data.template", "User: {prompt} Assistant:", "User: {prompt} Assistant:"),
        ("data.template", "Q: {prompt}\\nA:\\t", "Q: {prompt}\nA:\t"),
        ("data.template", '"Q: {prompt}\\nA: #1"', "Q: {prompt}\nA: #1"),
        ("data.template", "'Q: {prompt}'", "Q: {prompt}"),
        ("data.template", "{prompt}", "{prompt}"),
        ("data.template", '"{prompt}" said "he"', '"{prompt}" said "he"'),
        ("data.path", "my files #2/[a] {b}=c: d.jsonl", "my files #2/[a] {b}=c: d.jsonl"),
        ("data.path", "C:\\new\\table.jsonl", "C:\\new\\table.jsonl"),
        ("data.path", "1e5", "1e5"),
        ("data.path", "null", None),
        ("data.path", "", None),
        ("results_dir", "- a", "- a"),
        ("data.prompt_column", "the prompt: text", "the prompt: text"),
        ("data.labels.good", "a: b #c", "a: b #c"),
        ("data.labels.good", "-better", "-better"),
    ],
)
def test_a_text_is_taken_as_it_is_given(folder, key, given, taken):
    found = of(folder, "data=pairs", f"{key}={given}")
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == taken


def test_values_are_typed(folder):
    config = of(
        folder,
        "fresh=true",
        "seeds=[3,1]",
        "dpo.steps=null",
        "dpo.lr=1e-4",
        "objectives=[b,a]",
        "model.path=some/where",
        "methods.one.steps=5",
    )
    assert config.fresh is True
    assert config.seeds == [3, 1]
    assert config.dpo.steps is None
    assert config.dpo.lr == 1e-4
    assert config.objectives == ["b", "a"]
    assert config.model.path == "some/where"
    assert config.methods["one"].steps == 5


KEYS = "lr, weight_decay, beta1"

MISTAKES = [
    (["scale=huge"], ["scale=huge: allowed are smoke, tiny"]),
    (
        ["data=nothing"],
        ["data=nothing: allowed are answers, beavertails, helpsteer2, helpsteer3, hh_rlhf, pairs"],
    ),
    (["data="], ["data=: allowed are"]),
    (["fresh"], ["argument 'fresh'", "key=value"]),
    (["=3"], ["argument '=3'", "key=value"]),
    (["speed=3"], ["speed=3: there is no key 'speed'", "allowed are", "seeds", "dpo"]),
    (["dpo.beat=0.3"], ["there is no key 'dpo.beat'", "did you mean beta?", KEYS]),
    (["dpo.zzz=0.3"], ["there is no key 'dpo.zzz'; allowed are " + KEYS]),
    (["data.pairz=3"], ["there is no key 'data.pairz'", "did you mean pairs?", "world_seed"]),
    (["data=pairs", "data.world_seed=3"], ["there is no key 'data.world_seed'", "prompt_column"]),
    (["methods.one.stepps=3"], ["there is no key 'methods.one.stepps'", "did you mean steps?"]),
    (["data.name=pairs"], ["data.name=pairs: a data set is chosen by data=NAME"]),
    (["dpo.beta=abc"], ["dpo.beta=abc: 'dpo.beta' takes a number"]),
    (["dpo.beta=null"], ["dpo.beta=null", "takes a number"]),
    (["dpo.beta=[1]"], ["dpo.beta=[1]", "takes a number"]),
    (["dpo.beta.x=3"], ["dpo.beta.x=3", "'dpo.beta' takes a number"]),
    (["dpo.steps=1.5"], ["dpo.steps=1.5", "takes a whole number or nothing"]),
    (["fresh=maybe"], ["fresh=maybe", "takes true or false"]),
    (["fresh=2"], ["fresh=2: 'fresh' takes true or false"]),
    (["fresh=0.5"], ["fresh=0.5: 'fresh' takes true or false"]),
    (["seeds=3"], ["seeds=3", "a list, [...], of which each is a whole number"]),
    (["seeds=[a]"], ["seeds=[a]", "a whole number"]),
    (["dpo=3"], ["dpo=3", "dpo.<key>=<value>"]),
    (["methods=3"], ["methods=3", "methods.<name>=<value>"]),
    (["model.family=[x"], ["model.family=[x"]),
    (["results_dir=${nothing}"], ["results_dir", "nothing"]),
    (["methods.dps.snapshots=[0.5,2]"], ["methods.dps.snapshots=[0.5, 2.0]: shares of the training above 0"]),
    (["methods.dps.snapshots=[0]"], ["methods.dps.snapshots=[0.0]", "up to 1"]),
    (["hardware.accelerator=mps"], ["hardware.accelerator=mps: allowed are cpu, gpu"]),
    (["model.family=gpt"], ["model.family=gpt: allowed are llama, mistral, opt"]),
    (["dpo.beta=-1"], ["dpo.beta=-1.0: must be above 0"]),
    (["dpo.lr=inf"], ["dpo.lr=inf: must be a finite number"]),
    (["dpo.beta1=1"], ["dpo.beta1=1.0: must be below 1"]),
    (["workers=0"], ["workers=0: must be at least 1"]),
    (["evaluation.top_p=1.1"], ["evaluation.top_p=1.1: must be at most 1"]),
    (["methods.one.steps=0"], ["methods.one.steps=0: must be at least 1"]),
    (["data.risky_share=2"], ["data.risky_share=2.0: must be at most 1"]),
    (["data.template=abc"], ["data.template='abc'", "{prompt}"]),
    (["data.max_response_length=99"], ["data.max_response_length=99: must be below data.max_length"]),
    (
        ["data=pairs", "data.labels.v1.2=better"],
        ["data.labels.v1.2=better: 'data.labels' takes names without a dot: data.labels.<name>=<value>"],
    ),
    (["data=pairs", "data.labels={v1.2: a, b: c}"], ["data.labels", "'v1.2'", "names without a dot"]),
    (["data.template=null"], ["'data.template' takes a text"]),
    (["seeds=[1,1]"], ["seeds=[1, 1]", "distinct"]),
    (["seeds=[]"], ["seeds=[]", "one or more"]),
    (["seeds=[-1]"], ["seeds=[-1]", "from 0"]),
    (["seeds=[4294967296]"], ["seeds=[4294967296]", "below 4294967296"]),
    (["objectives=[a]"], ["objectives=['a']", "two or more"]),
    (
        ["dpo.batch_size=10", "dpo.preferences_per_batch=4"],
        ["dpo.preferences_per_batch=4: must divide", "10"],
    ),
    (["dpo.batch_size=10", "dpo.accumulate=3"], ["dpo.accumulate=3: must divide dpo.batch_size", "10"]),
]


@pytest.mark.parametrize(("words", "parts"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_every_mistake_is_one_line_that_says_what_is_allowed(folder, words, parts):
    with pytest.raises(UserError) as caught:
        parse(SCHEMA, words if words[0].startswith("scale") else ["scale=smoke", *words], folder)
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dpo: {beat: 1}\n", ["smoke.yaml", "there is no key 'dpo.beat'", "did you mean beta?"]),
        ("dpo: {beta: abc}\n", ["smoke.yaml", "'dpo.beta' takes a number"]),
        ("speed: 3\n", ["smoke.yaml", "there is no key 'speed'"]),
        ("- 3\n", ["smoke.yaml", "a mapping"]),
        ("dpo: {beta: [1\n", ["smoke.yaml"]),
        ("data: {name: nothing}\n", ["data=nothing: allowed are"]),
    ],
)
def test_a_mistake_in_a_file_names_the_file(folder, text, parts):
    (folder / "smoke.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        of(folder)
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line


def test_help_lists_every_key_with_its_line(folder):
    text = describe(SCHEMA)
    for key in ("dpo.beta ", "seeds ", "evaluation.grid_step ", "model.path ", "methods "):
        assert f"\n{key}" in f"\n{text}"
    for name, schema in CONFIGS.items():
        section = text.partition(f"with data={name}:\n")[2].partition("\n\n")[0]
        for key in vars(schema()):
            assert key == "name" or f"data.{key} " in section
    assert "the learning rate rises over" in text


def test_a_key_below_a_plain_value_is_told_what_the_value_takes(folder):
    for words, part in (
        ("seeds.first=1", "'seeds' takes a list"),
        ("model.path.x=1", "'model.path' takes a text or nothing"),
        ("objectives.x=1", "'objectives' takes a list, [...], of which each is a text or nothing"),
    ):
        with pytest.raises(UserError) as caught:
            of(folder, words)
        assert part in str(caught.value)


def test_what_the_files_say_of_other_studies_methods_is_left_out(folder):
    (folder / "gpu.yaml").write_text("methods: {one: {steps: 3}, two: {steps: 4}}\n")

    def methods(*words):
        return parse(SCHEMA, ["scale=gpu", *words], folder, methods=["one"]).methods

    assert set(methods()) == {"one"}
    # A name that the user gives is kept, so that the study can refuse it.
    assert set(methods("methods.two.lr=1")) == {"one", "two"}
    assert set(parse(SCHEMA, ["scale=gpu"], folder).methods) == {"one", "two"}


def test_what_the_files_say_in_sections_of_other_studies_is_left_out(folder):
    (folder / "gpu.yaml").write_text("dpo: {steps: 3}\nppo: {steps: 4}\nheads: {wings: 2}\n")
    (folder / "gpu.text.yaml").write_text("ppo: {steps: 5}\n")
    config = parse(SCHEMA, ["scale=gpu", "data=pairs"], folder, others=all_sections())
    assert config.dpo.steps == 3
    assert not hasattr(config, "ppo")
    with pytest.raises(UserError, match=r"gpu.yaml: there is no key 'ppo' .*; allowed are"):
        parse(SCHEMA, ["scale=gpu"], folder)
    # What the user gives is never passed over.
    with pytest.raises(UserError, match=r"ppo.steps=1: there is no key 'ppo'"):
        parse(SCHEMA, ["scale=gpu", "ppo.steps=1"], folder, others=all_sections())


def test_a_methods_own_settings_are_kept_as_they_are_given(folder):
    config = of(folder, "methods.one.settings.dpo.beta=0.3", "methods.one.settings.adapter.rank=4")
    assert config.methods["one"].settings == {"dpo": {"beta": 0.3}, "adapter": {"rank": 4}}


def test_a_study_without_methods_has_no_section_of_any_answer():
    plain = vars(StudyConfig())
    assert not all_sections() & set(plain)
    assert set(vars(SCHEMA())) - set(plain) == {"dpo", "adapter"}


def test_a_file_of_settings_that_is_no_utf_8_is_named(tmp_path):
    (tmp_path / "smoke.yaml").write_bytes(b"# h\xe9\nseeds: [0]\n")
    with pytest.raises(UserError, match=r"smoke\.yaml: not UTF-8 text"):
        parse(SCHEMA, ["scale=smoke"], tmp_path)
