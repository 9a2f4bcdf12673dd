"""Tries tools that people already use against a server: `tools.py URL KEY MODEL`. Prints a line for each.

Needs openai, llm, langchain-openai and prometheus-client.
"""

import os
import subprocess
import sys
import tempfile
import urllib.request

url, key, model = sys.argv[1:4]


def said(tool: str, text: object) -> None:
    print(f"{tool}: {str(text)!r}", flush=True)


def openai_client() -> None:
    from openai import OpenAI

    client = OpenAI(base_url=f"{url}/v1", api_key=key)
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "turn on the light"}], max_tokens=6
    )
    said("openai", answer.choices[0].message.content)
    pieces = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "turn on the light"}],
        max_tokens=6,
        temperature=0,
        stream=True,
    )
    said("openai streamed", "".join(piece.choices[0].delta.content or "" for piece in pieces))
    said("openai models", [one.id for one in client.models.list()])


def langchain() -> None:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(base_url=f"{url}/v1", api_key=key, model=model, max_tokens=6)
    said("langchain", chat.invoke("turn on the light").content)
    said("langchain streamed", "".join(part.content for part in chat.stream("turn on the light")))


def llm() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/extra-openai-models.yaml", "w") as file:
            file.write(
                f"- model_id: box\n  model_name: {model}\n  api_base: {url}/v1\n  api_key_name: box\n"
            )
        environment = {**os.environ, "LLM_USER_PATH": folder}
        command = [f"{os.path.dirname(sys.executable)}/llm"]
        subprocess.run([*command, "keys", "set", "box", "--value", key], env=environment, check=True)
        answer = subprocess.run(
            [*command, "-m", "box", "-o", "max_tokens", "6", "turn on the light"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        said("llm", answer.stdout)


def prometheus() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as response:
        text = response.read().decode()
    names = [family.name for family in text_string_to_metric_families(text)]
    assert "graft_requests" in names and "graft_tokens" in names, names
    said("prometheus", f"{len(names)} families")


for tool in (openai_client, langchain, llm, prometheus):
    tool()
