import process from "node:process";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ChatTemplate } from "../../src/data/chat_template.ts";
import type { Message } from "../../src/data/mod.ts";
import { BadInputError } from "../../src/errors.ts";
import { TINY_TEMPLATE } from "../helpers/text_files.ts";

const CHAT: Message[] = [{ role: "user", content: "Hi" }, { role: "assistant", content: "Yes?" }];

const template = (text: string) =>
  new ChatTemplate({ name: "m/chat_template.jinja", text }, {
    bos_token: "<s>",
    eos_token: "</s>",
  });

Deno.test("render() writes a chat, and the opening of an answer on request", () => {
  assertEquals(
    template(TINY_TEMPLATE).render(CHAT),
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n",
  );
  assertEquals(
    template(TINY_TEMPLATE).render(CHAT.slice(0, 1), { addGenerationPrompt: true }),
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
  );
});

Deno.test("render() gives the template special tokens, tools, range, namespace and raise_exception", () => {
  const text = `{{ bos_token }}{% for i in range(2, 8, 3) %}{{ i }}{% endfor %}` +
    `{% set ns = namespace(n=0) %}{% for t in tools %}{% set ns.n = ns.n + 1 %}{{ t.name }}{% endfor %}` +
    `{{ ns.n }}{% if unk_token is defined or documents %}!{% endif %}`;
  assertEquals(template(text).render(CHAT, { tools: [{ name: "f" }] }), "<s>25f1");
  assertThrows(
    () => template(`{{ raise_exception("Roles must alternate") }}`).render(CHAT),
    BadInputError,
    "Roles must alternate",
  );
});

Deno.test("render() formats today's date as transformers does", () => {
  const now = new Date();
  const month = now.toLocaleDateString("en-US", { month: "short" });
  const date = template(`{{ strftime_now("%d %b %Y 100%%") }}`).render(CHAT);
  assertEquals(
    date,
    `${String(now.getDate()).padStart(2, "0")} ${month} ${now.getFullYear()} 100%`,
  );
});

const BOMBS: Record<string, [string, string]> = {
  "nested loops": [
    "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
    "does not end",
  ],
  "a huge range": ["{% for a in range(1000000000) %}{% endfor %}", "range has more than"],
  "a range without end": ["{% for a in range(0, 5, 0) %}{% endfor %}", "range has more than"],
  "doubling text": [
    "{% set ns = namespace(s='0123456789') %}{% for a in range(60) %}" +
    "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "longer than",
  ],
  "recursion": ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "cannot render"],
};

for (const [what, [text, message]] of Object.entries(BOMBS)) {
  Deno.test(`render() ends ${what} within two seconds of the processor with an error`, () => {
    const before = process.cpuUsage();
    assertThrows(() => template(text).render(CHAT), BadInputError, message);
    const { user, system } = process.cpuUsage(before);
    assert(user + system < 2e6, `${user + system} µs`);
  });
}

Deno.test("ChatTemplate refuses text that is no template and names the file", () => {
  for (const text of ["{% for %}", "{{ (", "{% if x %}", "(".repeat(100_000).replace(/^/, "{{")]) {
    const error = assertThrows(() => template(text), BadInputError);
    assertStringIncludes(error.message, "m/chat_template.jinja");
  }
});
