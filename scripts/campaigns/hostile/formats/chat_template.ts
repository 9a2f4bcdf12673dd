/** Chat templates: read, and a chat rendered and encoded by them. */
import { ChatTemplate } from "../../../../src/data/chat_template.ts";
import { GuardedText, type Message } from "../../../../src/data/mod.ts";
import { TINY_TEMPLATE, tinyFiles } from "../../../../tests/helpers/text_files.ts";
import { type HostileFormat, lazily, RUNNING } from "../format.ts";
import { damaged } from "../mutators/bytes.ts";
import { OBJECT_WORDS } from "../mutators/words.ts";

const SEEDS = [
  TINY_TEMPLATE,
  `{%- set ns = namespace(n=0) -%}{%- for m in messages -%}{%- set ns.n = ns.n + 1 -%}` +
  `{{- '<' + m['role'] + '>' + m['content'] | trim + '\\n' -}}{%- endfor -%}{{ ns.n }}`,
  `{% if messages[0].role == 'system' %}{{ messages[0].content }}{% set messages = messages[1:] %}` +
  `{% endif %}{% macro turn(m) %}[{{ m.role | upper }}] {{ m.content | replace('a', 'b') }}` +
  `{% endmacro %}{% for m in messages %}{{ turn(m) }}{% endfor %}{{ bos_token }}{{ tools | tojson }}`,
];

const WORDS = [
  "{% for a in range(60000) %}{% for b in range(60000) %}{% endfor %}{% endfor %}",
  "{% for a in range(1e300) %}",
  "{% set s = 'a' * 100000 %}",
  "{% set ns.n = ns.n + ns.n %}",
  "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
  "{{ 'a' | replace('', 'aaaaaaaaaaaaaaaa') | replace('a', 'aaaaaaaaaaaaaaaa') }}",
  "{{ messages | tojson(indent=1000000) }}",
  "{{ 'a' | indent(1e9) }}",
  "{{ strftime_now('%Y') }}",
  "{{ raise_exception('no') }}",
  "{{ messages | map(attribute='constructor') | list }}",
  ...OBJECT_WORDS.map((word) => `{{ messages.${word} }}{{ messages[0]['${word}'] }}{{ ${word} }}`),
  "{{ " + "(".repeat(5000),
  "{{ " + "[".repeat(5000) + "]".repeat(5000) + " }}",
  "{{ 1" + "+1".repeat(5000) + " }}",
  "{{ " + "not ".repeat(5000) + "1 }}",
  "{% if 1 %}".repeat(2000),
  "{% endfor %}",
  "{% endif %}",
  "{%-",
  "}}",
  "{#",
  "|",
  "'",
];

const CHAT: Message[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "a \u{1f680} {{ a }}" },
  { role: "assistant", content: "a" },
];

export const CHAT_TEMPLATE: HostileFormat = {
  name: "chat_template",
  limits: RUNNING,
  seeds: lazily(() => SEEDS.map((text) => new TextEncoder().encode(text))),
  mutate: (random, seeds) => damaged(seeds, WORDS, random),
  async prepare() {
    (await GuardedText.start(tinyFiles()))[Symbol.dispose]();
  },
  async probe(file) {
    const text = new TextDecoder().decode(file);
    // No process is started for what is no template.
    new ChatTemplate({ name: "chat_template.jinja", text }, {});
    using guarded = await GuardedText.start(tinyFiles(text));
    await guarded.render(CHAT, { addGenerationPrompt: true });
    const row = { kind: "messages", messages: CHAT, firstTarget: 0 } as const;
    await guarded.encodeRows([{ index: 0, place: "data:1", row }], { maxLength: 64 });
  },
};
