"""Serve a model in an account: start the endpoint, show its log, and delete it at the end."""

import json
from typing import NoReturn

import typer

from container.errors import PlatformError, UserError, name_command
from local_test.cli import terminal
from local_test.cli.remote.remote_options import RemoteOptions
from local_test.cli.remote.submission import Submission, begin, doubt, interruptible, wants_to_leave
from local_test.remote.creation import UncertainError
from local_test.remote.remote_endpoints import EndedError, RemoteEndpoint
from local_test.requests import validation
from local_test.requests.endpoint_requests import EndpointRequests


def serve(requests: EndpointRequests, options: RemoteOptions, *, print_request: bool) -> int:
    """Serve on AWS until Ctrl-C; return the exit code."""
    _check(requests)
    variants = requests.config["ProductionVariants"]
    name = requests.endpoint["EndpointName"]
    submission = begin(options, "endpoint", name, str(variants[0].get("InstanceType", "")))
    made = _rewrite(submission, requests)
    if print_request:
        print(json.dumps(vars(made), indent=2))
        return 0
    submission.prepare(options, "Endpoint", variants)
    endpoint = RemoteEndpoint(submission.account, made, terminal.show_line)
    with interruptible():
        try:
            endpoint.start()
            if options.detach:
                terminal.say(f"`{name_command('aws delete')} {name}` deletes it")
                print(name)
                return 0
            endpoint.wait(lambda status, reason: terminal.mark("bold", status, reason))
            terminal.say(
                f"InvokeEndpoint reaches {name}, which costs by the hour until it is deleted; "
                "Ctrl-C ends it"
            )
            print(name, flush=True)
            endpoint.watch()
        except EndedError as ended:
            failure = str(ended)
        except KeyboardInterrupt:
            if wants_to_leave(name):
                terminal.say(f"{name} goes on; `{name_command('aws delete')} {name}` deletes it")
                raise typer.Exit(130) from None
            failure = ""
        except (UserError, PlatformError) as error:
            _give_up(endpoint, error)
        except Exception:  # such as a closed terminal or a full disk
            endpoint.delete()
            raise
        _delete(endpoint)
    if failure:
        terminal.complain(f"{failure}; nothing of {name} is left")
    return int(bool(failure))


def _check(requests: EndpointRequests) -> None:
    for model in requests.models.values():
        validation.check("CreateModel", model)
    validation.check("CreateEndpointConfig", requests.config)
    validation.check("CreateEndpoint", requests.endpoint)


def _rewrite(submission: Submission, requests: EndpointRequests) -> EndpointRequests:
    relocation = submission.relocation
    return EndpointRequests(
        models={
            name: relocation.rewrite("CreateModel", model)
            for name, model in requests.models.items()
        },
        config=relocation.rewrite("CreateEndpointConfig", requests.config),
        endpoint=relocation.rewrite("CreateEndpoint", requests.endpoint),
    )


def _delete(endpoint: RemoteEndpoint) -> None:
    hint = doubt(endpoint.name, "delete")
    try:
        terminal.say(f"deleting {endpoint.name}")
        endpoint.delete()
    except (UserError, PlatformError) as error:
        raise type(error)(f"{error}; {hint}") from error
    except KeyboardInterrupt:
        terminal.complain(hint)
        raise


def _give_up(endpoint: RemoteEndpoint, error: UserError | PlatformError) -> NoReturn:
    """Delete an endpoint that cannot be followed any more, and raise with what became of it."""
    try:
        endpoint.delete()
    except (UserError, PlatformError):
        end = doubt(endpoint.name, "delete")
    else:
        end = f"nothing of {endpoint.name} is left"
    if isinstance(error, UncertainError):
        raise error
    raise type(error)(f"{error}; {end}") from error
