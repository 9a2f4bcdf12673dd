"""Greedy answers of onnxruntime-genai, as its own tokenizer and chat template make them.

Reads {"model": folder, "prompts": [text], "max_tokens": n} from standard input and writes a list of
{"text", "ids", "prompt_tokens"} to standard output. Needs the package onnxruntime-genai.
"""

import json
import sys

import onnxruntime_genai as og


def answer(model, tokenizer, end_ids, prompt, max_tokens):
    messages = json.dumps([{"role": "user", "content": prompt}])
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    ids = tokenizer.encode(rendered)
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=len(ids) + max_tokens, do_sample=False)
    generator = og.Generator(model, params)
    generator.append_tokens(ids)
    answer_ids = []
    while not generator.is_done() and len(answer_ids) < max_tokens:
        generator.generate_next_token()
        token = int(generator.get_next_tokens()[0])
        if token in end_ids:
            break
        answer_ids.append(token)
    text = tokenizer.decode(answer_ids)
    return {"text": text, "ids": answer_ids, "prompt_tokens": len(ids)}


def main():
    request = json.load(sys.stdin)
    model = og.Model(request["model"])
    tokenizer = og.Tokenizer(model)
    with open(f"{request['model']}/genai_config.json", encoding="utf-8") as file:
        end = json.load(file)["model"]["eos_token_id"]
    end_ids = set(end if isinstance(end, list) else [end])
    answers = [
        answer(model, tokenizer, end_ids, prompt, request["max_tokens"])
        for prompt in request["prompts"]
    ]
    json.dump(answers, sys.stdout)


main()
