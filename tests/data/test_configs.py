import pytest

from lightning_moa.data.config_checks import check_config
from lightning_moa.data.configs import CONFIGS, DataConfig
from lightning_moa.errors import UserError


@pytest.mark.parametrize("name", list(CONFIGS))
def test_defaults_are_allowed_and_named(name):
    config = CONFIGS[name]()
    check_config(config)
    assert config.name == name
    assert config.labels is not CONFIGS[name]().labels


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"template": "no place"}, "data.template"),
        ({"template": "{prompt} {prompt}"}, "data.template"),
        ({"max_length": 10, "max_response_length": 10}, "data.max_response_length=10"),
        ({"long_responses": "keep"}, "data.long_responses=keep"),
        ({"eval_fraction": 0.0}, "data.eval_fraction"),
        ({"limit": 0}, "data.limit=0"),
    ],
)
def test_other_values_are_errors(options, words):
    with pytest.raises(UserError, match=words):
        check_config(DataConfig(**options))
