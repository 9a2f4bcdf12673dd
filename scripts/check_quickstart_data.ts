/**
 * Checks the quickstart's data: `deno run --allow-read scripts/check_quickstart_data.ts`.
 *
 * The held-out part must say things in other words than the training part: a pair that shares most
 * of its words or letters is reported. Ends with 1 for any finding.
 */
import { parse } from "@std/csv";

/** One utterance. */
export interface Utterance {
  readonly text: string;
  readonly intent: string;
}

/** Two utterances are near-duplicates from this share of common words on. */
const MAX_WORDS = 0.5;

/** The same for runs of four characters, which see through endings and compounds. */
const MAX_LETTERS = 0.4;

const MIN_INTENTS = 10;
const MIN_TRAIN = 360;
const MIN_TEST = 120;

/** Words that say nothing about whether two sentences are the same. */
const FILLERS = new Set(
  "a an the please can could would you i me my we our us it is are in on of to for and".split(" "),
);

/** Lower case without accents and punctuation. */
function normalized(text: string): string {
  return text.toLowerCase().normalize("NFKD").replaceAll(/[^\p{L}\p{N}]+/gu, " ").trim();
}

function words(text: string): Set<string> {
  const all = normalized(text).split(" ");
  const telling = all.filter((word) => !FILLERS.has(word));
  return new Set(telling.length > 0 ? telling : all);
}

function letters(text: string): Set<string> {
  const padded = ` ${normalized(text)} `;
  const runs = new Set<string>();
  for (let i = 0; i + 4 <= padded.length; i++) runs.add(padded.slice(i, i + 4));
  return runs;
}

/** Size of the common part over size of the whole (Jaccard); 0 for two empty sets. */
function overlap(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const common = a.intersection(b).size;
  return common === 0 ? 0 : common / (a.size + b.size - common);
}

/** How alike two sentences are, as shares of common words and letters. */
export interface Likeness {
  readonly words: number;
  readonly letters: number;
}

/** The likeness of a sentence to others; made once for each, since every pair is looked at. */
function likenessTo(sentence: string): (other: ReturnType<typeof traitsOf>) => Likeness {
  const own = traitsOf(sentence);
  return (other) => ({
    words: overlap(own.words, other.words),
    letters: overlap(own.letters, other.letters),
  });
}

const traitsOf = (text: string) => ({ words: words(text), letters: letters(text) });

/** How alike two sentences are. */
export function likeness(a: string, b: string): Likeness {
  return likenessTo(a)(traitsOf(b));
}

/** What is wrong with a training part and its held-out part, one line each. */
export function findings(train: readonly Utterance[], test: readonly Utterance[]): string[] {
  const found: string[] = [];
  const intents = new Set(train.map(({ intent }) => intent));
  if (intents.size < MIN_INTENTS) found.push(`only ${intents.size} intents, ${MIN_INTENTS} needed`);
  if (train.length < MIN_TRAIN) found.push(`only ${train.length} to train, ${MIN_TRAIN} needed`);
  if (test.length < MIN_TEST) found.push(`only ${test.length} held out, ${MIN_TEST} needed`);
  const seen = new Map<string, string>();
  for (const { text, intent } of [...train, ...test]) {
    const key = normalized(text);
    if (seen.has(key)) found.push(`twice: "${text}" (${seen.get(key)}, ${intent})`);
    seen.set(key, intent);
  }
  const trained = train.map(({ text }) => ({ text, traits: traitsOf(text) }));
  for (const held of test) {
    const likenessOf = likenessTo(held.text);
    if (!intents.has(held.intent)) found.push(`intent "${held.intent}" is only held out`);
    for (const { text, traits } of trained) {
      const like = likenessOf(traits);
      if (like.words < MAX_WORDS && like.letters < MAX_LETTERS) continue;
      const [w, l] = [like.words, like.letters].map((share) => `${Math.round(100 * share)}%`);
      found.push(`near-duplicate: "${held.text}" and "${text}" (words ${w}, letters ${l})`);
    }
  }
  return found;
}

/** The utterances of a `text,intent` file's content. */
export function parseUtterances(csv: string): Utterance[] {
  return parse(csv, { skipFirstRow: true }) as unknown as Utterance[];
}

if (import.meta.main) {
  const read = (part: string) =>
    parseUtterances(
      Deno.readTextFileSync(new URL(`../models/quickstart/${part}.csv`, import.meta.url)),
    );
  const [train, test] = [read("train"), read("test")];
  const found = findings(train, test);
  for (const line of found) console.log(line);
  if (found.length > 0) Deno.exit(1);
  const intents = new Set(train.map(({ intent }) => intent)).size;
  console.log(
    `${train.length} to train and ${test.length} held out in ${intents} intents, no near-duplicates`,
  );
}
