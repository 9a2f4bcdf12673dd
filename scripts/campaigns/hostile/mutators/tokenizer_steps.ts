/** tokenizer.json whose steps explode, multiply text, name tokens that are not there, or never end. */
import { pick, type Random } from "../random.ts";
import { OBJECT_WORDS } from "./words.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

const STEPS = ["normalizer", "pre_tokenizer", "post_processor", "decoder", "model", "added_tokens"];

const EXPONENTIAL = [
  ...["(a+)+$", "(?:.*.*)*x", "(a|a)*b", "(\\s*\\w*)*$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*)*\\1"],
  ...["(?:a?){30}a{30}", "a{1000}{1000}", "(?=(a+)+$)a", "[\\s\\S]*[\\s\\S]*[\\s\\S]*!", "\\p{L}*"],
];

const NUMBERS = [-1, 0, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 63), 1e300, -1e300, null, "1"];

const long = (random: Random, text: string) => text.repeat(pick(random, [1, 100, 10_000]));

/** A step of another file takes the place of this one's. */
function splice(root: Json, other: Json, random: Random): void {
  const step = pick(random, STEPS);
  root[step] = other[step];
}

function explode(root: Json, random: Random): void {
  const pattern = { Regex: pick(random, EXPONENTIAL) };
  const behavior = pick(random, ["Isolated", "Removed", "MergedWithNext"]);
  switch (random(4)) {
    case 0:
      root.pre_tokenizer = { type: "Split", pattern, behavior, invert: random(2) === 0 };
      break;
    case 1:
      root.normalizer = { type: "Replace", pattern, content: pick(random, ["", "a", "$&$&"]) };
      break;
    case 2:
      root.decoder = { type: "Replace", pattern, content: "a" };
      break;
    default:
      root.pre_tokenizer = {
        type: "Sequence",
        pretokenizers: new Array(pick(random, [2, 50])).fill({ type: "Split", pattern, behavior }),
      };
  }
}

function multiply(root: Json, random: Random): void {
  const replace = {
    type: "Replace",
    pattern: pick(random, [{ String: "a" }, { Regex: "." }, { String: "" }]),
    content: long(random, "a"),
  };
  const times = pick(random, [1, 5, 40, 1000]);
  switch (random(6)) {
    case 0:
      root.normalizer = {
        type: "Sequence",
        normalizers: [
          { type: "Prepend", prepend: long(random, "a") },
          ...new Array(times).fill(replace),
        ],
      };
      break;
    case 1:
      root.pre_tokenizer = { type: "Sequence", pretokenizers: new Array(times).fill(replace) };
      break;
    case 2:
      root.pre_tokenizer = { type: "FixedLength", length: pick(random, NUMBERS) };
      break;
    case 3:
      root.decoder = { type: "Sequence", decoders: new Array(times).fill(replace) };
      break;
    case 4:
      root.post_processor = {
        type: "TemplateProcessing",
        single: new Array(times).fill({ Sequence: { id: "A", type_id: 0 } }),
        pair: [],
        special_tokens: {},
      };
      break;
    default:
      root.pre_tokenizer = { type: "Metaspace", replacement: long(random, "▁"), str_rep: "  " };
  }
}

function outsideVocabulary(root: Json, random: Random): void {
  const id = pick(random, NUMBERS);
  const token = pick(random, ["absent", "", ...OBJECT_WORDS]);
  switch (random(5)) {
    case 0:
      root.added_tokens = [...root.added_tokens ?? [], { id, content: token, special: true }];
      break;
    case 1:
      root.post_processor = {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: token, type_id: id } }, { Sequence: { id: "A" } }],
      };
      break;
    case 2:
      root.model = { ...root.model, unk_token: token, unk_id: id };
      break;
    case 3:
      if (root.model && !Array.isArray(root.model.vocab)) {
        root.model = { ...root.model, vocab: { ...root.model.vocab, [token]: id } };
      }
      break;
    default:
      root.post_processor = { type: "BertProcessing", sep: [token, id], cls: [token, id] };
  }
}

/** Any number, text or key becomes another. */
function otherWord(root: Json, random: Random): void {
  let parent = root;
  for (let depth = 0; depth < 6; depth++) {
    const keys = Object.keys(parent);
    if (keys.length === 0) return;
    const key = pick(random, keys);
    const value = parent[key];
    if (value instanceof Object && random(6) > 0) {
      parent = value;
      continue;
    }
    if (random(3) === 0 && !Array.isArray(parent)) {
      delete parent[key];
      Object.defineProperty(parent, pick(random, OBJECT_WORDS), {
        value,
        enumerable: true,
        writable: true,
        configurable: true,
      });
    } else {parent[key] = typeof value === "number"
        ? pick(random, NUMBERS)
        : pick(random, OBJECT_WORDS);}
    return;
  }
}

/** A step in thousands of sequences: as text, since JSON.stringify has no stack for it either. */
function nested(text: string, random: Random): string {
  const [step, list] = pick(random, [
    ["normalizer", "normalizers"],
    ["pre_tokenizer", "pretokenizers"],
    ["decoder", "decoders"],
    ["post_processor", "processors"],
  ]);
  const depth = pick(random, [5, 1000, 50_000]);
  const begin = `{"type":"Sequence","${list}":[`.repeat(depth);
  // The last of equal keys counts.
  return `${text.slice(0, -1)},"${step}":${begin}null${"]}".repeat(depth)}}`;
}

/** One of the seeds with one or two of its steps changed. */
export function otherTokenizer(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const read = () => JSON.parse(new TextDecoder().decode(pick(random, seeds)));
  const root = read();
  for (let i = 1 + random(2); i > 0; i--) {
    // What runs until it is ended takes a thousand times as long as any other mutant.
    if (random(24) === 0) pick(random, [explode, multiply])(root, random);
    else if (random(4) === 0) splice(root, read(), random);
    else pick(random, [outsideVocabulary, otherWord])(root, random);
  }
  const text = JSON.stringify(root);
  return new TextEncoder().encode(random(6) === 0 ? nested(text, random) : text);
}
