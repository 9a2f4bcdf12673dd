"""Tries tools that people already use against a server: `serve_tools.py URL KEY MODEL [TOOL...]`.

Prints a line for each thing that a tool got; ends with an error where one fails. Without names it tries
openai, langchain, llm, instructor, litellm, prometheus and curl. The server needs a language model with a
chat template; `embeddings` needs one with an encoder. Packages that were tried:

    openai==3.3.0 langchain-openai==1.7.4 llm==0.36 instructor==1.17.0 litellm==1.110.2
    prometheus-client==0.26.0
    in an environment of its own, `llama_index`: llama-index-llms-openai==0.8.3
    llama-index-llms-openai-like==0.8.1 llama-index-embeddings-openai-like==0.4.0 (openai 2.54.0)
    in another one, `open_webui`: open-webui==0.12.4
    Debian: prometheus 2.53.3 (promtool), curl 8.14.1

JavaScript's are in serve_tools.mjs.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

url, key, model = sys.argv[1:4]
names = sys.argv[4:]

QUESTION = "turn on the light"
MESSAGES = [{"role": "user", "content": QUESTION}]


def said(tool: str, text: object) -> None:
    print(f"{tool}: {str(text)!r}", flush=True)


def program(name: str) -> str:
    """Of the environment that runs this."""
    return f"{os.path.dirname(sys.executable)}/{name}"


def light_class():
    from typing import Literal

    from pydantic import BaseModel

    class Light(BaseModel):
        room: Literal["hall", "kitchen"]
        on: bool

    return Light


def openai() -> None:
    from openai import OpenAI

    client = OpenAI(base_url=f"{url}/v1", api_key=key)
    chats = client.chat.completions
    answer = chats.create(model=model, messages=MESSAGES, max_tokens=6)
    said("openai", answer.choices[0].message.content)
    pieces = chats.create(
        model=model, messages=MESSAGES, max_tokens=6, temperature=0, stream=True
    )
    said("openai streamed", "".join(piece.choices[0].delta.content or "" for piece in pieces))
    parsed = chats.parse(model=model, messages=MESSAGES, response_format=light_class())
    said("openai parsed", parsed.choices[0].message.parsed)
    said("openai models", [one.id for one in client.models.list()])


def langchain() -> None:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(base_url=f"{url}/v1", api_key=key, model=model, max_tokens=6)
    said("langchain", chat.invoke(QUESTION).content)
    said("langchain streamed", "".join(part.content for part in chat.stream(QUESTION)))


def llm() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/extra-openai-models.yaml", "w") as file:
            file.write(
                f"- model_id: box\n  model_name: {model}\n  api_base: {url}/v1\n  api_key_name: box\n"
            )
        environment = {**os.environ, "LLM_USER_PATH": folder}
        command = [program("llm")]
        subprocess.run([*command, "keys", "set", "box", "--value", key], env=environment, check=True)
        answer = subprocess.run(
            [*command, "-m", "box", "-o", "max_tokens", "6", QUESTION],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        said("llm", answer.stdout)


def instructor() -> None:
    from instructor import Mode, from_openai
    from openai import OpenAI

    client = from_openai(OpenAI(base_url=f"{url}/v1", api_key=key), mode=Mode.JSON_SCHEMA)
    light = client.chat.completions.create(
        model=model, messages=MESSAGES, response_model=light_class(), max_tokens=60
    )
    said("instructor", light)


def litellm() -> None:
    # Else it asks for a list of prices on the network.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from litellm import completion

    asked = {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": key, "max_tokens": 6}
    said("litellm", completion(messages=MESSAGES, **asked).choices[0].message.content)
    pieces = completion(messages=MESSAGES, stream=True, **asked)
    said("litellm streamed", "".join(piece.choices[0].delta.content or "" for piece in pieces))


def llama_index() -> None:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    asked = {"model": model, "api_base": f"{url}/v1", "api_key": key, "max_tokens": 6}
    chat = OpenAILike(is_chat_model=True, **asked)
    message = [ChatMessage(role="user", content=QUESTION)]
    said("llama_index", chat.chat(message).message.content)
    said("llama_index streamed", "".join(part.delta or "" for part in chat.stream_chat(message)))
    said("llama_index completion", OpenAILike(is_chat_model=False, **asked).complete(QUESTION).text)


def embeddings() -> None:
    """Of those of the packages that the environment has."""
    asked = {"api_key": key}
    try:
        from llama_index.embeddings.openai_like import OpenAILikeEmbedding

        embedding = OpenAILikeEmbedding(model_name=model, api_base=f"{url}/v1", **asked)
        said("llama_index embeddings", len(embedding.get_text_embedding(QUESTION)))
    except ImportError:
        pass
    try:
        from langchain_openai import OpenAIEmbeddings

        # Else it sends token ids of OpenAI's own tokenizer.
        embedding = OpenAIEmbeddings(
            model=model, base_url=f"{url}/v1", check_embedding_ctx_length=False, **asked
        )
        said("langchain embeddings", len(embedding.embed_query(QUESTION)))
    except ImportError:
        pass


def open_webui() -> None:
    port = 8124
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "DATA_DIR": folder,
            "OPENAI_API_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": key,
            "ENABLE_OLLAMA_API": "False",
            "WEBUI_AUTH": "False",
            "WEBUI_SECRET_KEY": "x",
            "OFFLINE_MODE": "True",
            "HF_HUB_OFFLINE": "1",
            "RAG_EMBEDDING_MODEL": "",
        }
        command = [program("open-webui"), "serve", "--host", "127.0.0.1", "--port", str(port)]
        with open(f"{folder}/log", "w") as log:
            child = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        try:
            token = open_webui_token(address)
            models = asked_json(f"{address}/api/models", token)
            said("open_webui models", [one["id"] for one in models["data"]])
            request = {"model": model, "messages": MESSAGES, "max_tokens": 6, "stream": False}
            answer = asked_json(f"{address}/api/chat/completions", token, request)
            said("open_webui", answer["choices"][0]["message"]["content"])
        finally:
            child.terminate()
            child.wait(30)


def open_webui_token(address: str) -> str:
    """Of the user whom it has without accounts, once it answers."""
    for _ in range(120):
        try:
            user = {"email": "", "password": ""}
            return asked_json(f"{address}/api/v1/auths/signin", None, user)["token"]
        except OSError:
            time.sleep(1)
    raise TimeoutError("Open WebUI does not answer")


def asked_json(address: str, token: str | None, body: object = None) -> dict:
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as response:
        return json.load(response)


def prometheus() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as response:
        text = response.read().decode()
    names = [family.name for family in text_string_to_metric_families(text)]
    assert "graft_requests" in names and "graft_tokens" in names, names
    said("prometheus", f"{len(names)} families")
    if shutil.which("promtool") is None:
        return said("promtool", "is not there")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
    )
    said("promtool", checked.stdout + checked.stderr or "no complaint")
    checked.check_returncode()


def curl() -> None:
    request = {"messages": MESSAGES, "max_tokens": 3, "stream": True}
    answer = subprocess.run(
        ["curl", "-sN", f"{url}/v1/chat/completions"]
        + ["-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json"]
        + ["-d", json.dumps(request)],
        capture_output=True,
        check=True,
        text=True,
    )
    said("curl", answer.stdout.split("\n\n")[-2])


TOOLS = (openai, langchain, llm, instructor, litellm, prometheus, curl)
OTHERS = (llama_index, embeddings, open_webui)

for tool in [one for one in TOOLS + OTHERS if one.__name__ in names] or TOOLS:
    tool()
