"""Secrets in logs and failure reasons."""

import pytest

from container.user_packages import masking


@pytest.mark.parametrize(
    "name", ["API_KEY", "db_password", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "Authorization"]
)
def test_value_of_a_secret_name_is_hidden_wherever_it_occurs(name: str) -> None:
    secrets = masking.find_secrets({name: "hunter2", "other": "visible"})
    assert (
        masking.mask('{"a": "hunter2", "b": "visible"}', secrets) == '{"a": "***", "b": "visible"}'
    )
    assert (
        masking.mask_command(["run", f"--{name}", "abc", "--x", "1"], secrets)
        == f"run --{name} *** --x 1"
    )


@pytest.mark.parametrize("name", ["tokenizer", "max_tokens", "author", "sort_key", "monkey"])
def test_value_of_a_harmless_name_is_shown(name: str) -> None:
    assert masking.find_secrets({name: "value"}) == []


def test_a_document_is_shown_without_its_secrets() -> None:
    document = {"HyperParameters": {"api_token": "hunter2", "lr": "1"}, "all": [{"password": "x"}]}
    assert masking.hide_secrets(document) == {
        "HyperParameters": {"api_token": "***", "lr": "1"},
        "all": [{"password": "***"}],
    }


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ({"token": ""}, {"token": ""}),
        ({"api_token": {"StringValue": "x"}}, {"api_token": {"StringValue": "***"}}),
        ({"secrets": ["x", "y"], "n": [1]}, {"secrets": ["***", "***"], "n": [1]}),
        ([{"Name": "ApiToken", "Value": "x"}], [{"Name": "ApiToken", "Value": "***"}]),
        ({"Key": "password", "Value": "x"}, {"Key": "password", "Value": "***"}),
        (
            {"Name": "Token", "Type": "String", "DefaultValue": "x"},
            {"Name": "Token", "Type": "String", "DefaultValue": "***"},
        ),
        ({"Name": "lr", "Value": "1"}, {"Name": "lr", "Value": "1"}),
        (["--api-token", "x", "--lr", "1"], ["--api-token", "***", "--lr", "1"]),
        (["--api-token=x", "y", "a=b"], ["--api-token=***", "y", "a=b"]),
        (["HF_TOKEN=x", "the token is", "shown"], ["HF_TOKEN=***", "the token is", "shown"]),
    ],
)
def test_a_secret_is_hidden_by_what_names_it(document: object, shown: object) -> None:
    assert masking.hide_secrets(document) == shown


def test_a_command_is_shown_without_the_values_of_secret_options() -> None:
    command = ["run", "--token=x", "https://u:p@host/", "--api-key", "y"]
    assert masking.mask_command(command, []) == "run --token=*** https://***@host/ --api-key ***"
