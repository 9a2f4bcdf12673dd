/**
 * Speed of inference beside the peers, alternately in one run: prefill and greedy decode of a
 * language model by graft and onnxruntime-genai, embeddings by graft and onnxruntime in Python.
 * Prints a JSON line for each with graft's ratios to the peer (above 1: faster).
 *
 * usage: deno run -A scripts/figures/inference.ts [--rounds 5] [--threads 2] [--shared ../shared]
 *   [--model DIR] [--encoder DIR] [--prompt 128] [--tokens 129] [--batches 1,8,32]
 *   [--ort-lib LIBONNXRUNTIME] [--skip decode|embed] [--patience SECONDS]
 *
 * GRAFT_PYTHON names a Python with onnxruntime-genai. graft runs twice: on the runtime it brings
 * and on --ort-lib, by default the library of that Python, so that like is compared with like.
 */
import { parseArgs } from "@std/cli/parse-args";
import { TextLineStream } from "@std/streams";
import { LocalText } from "../../src/data/mod.ts";
import { readTextFiles } from "../../src/model/tokenizer_files.ts";
import { python } from "../../tests/helpers/requirements.ts";
import { median } from "../../src/statistics.ts";
import { watched } from "./machine.ts";

/** Tokens that each decodes before it is the next one's turn. */
const BURST = 32;

/** What a child answers to a request. */
interface Reply {
  readonly runtime: string;
  /** Milliseconds from a prompt to its first token, or for the tokens or sentences asked for. */
  readonly ms: number;
  readonly ids: readonly number[];
  /** Embedding of the last batch's first sentence. */
  readonly vector: readonly number[];
  /** Processor time that it took, threads that waited for work by spinning included. */
  readonly ownMs: number;
  /** Share of the processors that others used meanwhile. */
  readonly others: number;
}

/** A process that keeps its models loaded and answers a line of JSON with a line of JSON. */
class Measured implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #lines: ReadableStreamDefaultReader<unknown>;

  constructor(readonly name: string, command: string, args: readonly string[], ortLib?: string) {
    this.#child = new Deno.Command(command, {
      args: [...args],
      env: ortLib === undefined ? {} : { GRAFT_ORT_LIB: ortLib },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream()).getReader();
  }

  async ask(request: object): Promise<Reply> {
    await this.#writer.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
    const { result: { value }, ownMs, others } = await watched(
      [this.#child.pid],
      () => this.#lines.read(),
    );
    if (value === undefined) throw new Error(`${this.name} ended before it answered`);
    return { ...JSON.parse(String(value)), ownMs, others };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    await this.#child.status;
  }
}

const flags = parseArgs(Deno.args, {
  string: ["shared", "model", "encoder", "batches", "ort-lib", "skip"],
  default: {
    rounds: 5,
    patience: 1,
    threads: 2,
    prompt: 128,
    tokens: 129,
    batches: "1,8,32",
    shared: "../shared",
  },
});
const model = flags.model ?? `${flags.shared}/models/smollm2-135m-instruct-int4`;
const encoder = flags.encoder ?? `${flags.shared}/models/all-minilm-l6-v2-int8`;
const sentences = Deno.readTextFileSync(`${flags.shared}/data/banking77/test.csv`)
  .split("\n").slice(1).map((line) => line.replace(/,[^,]*$/, "").replaceAll('"', ""));

/** The library that the Python package onnxruntime brings. */
function pythonOrtLib(): string {
  const code = "import glob, importlib.util as u\n" +
    "folder = u.find_spec('onnxruntime').submodule_search_locations[0]\n" +
    "print(glob.glob(folder + '/capi/libonnxruntime.so.*')[0])";
  const { stdout, success } = new Deno.Command(python(), { args: ["-c", code] }).outputSync();
  if (!success) {
    console.error(`${python()} lacks onnxruntime: GRAFT_PYTHON names another`);
    Deno.exit(1);
  }
  return new TextDecoder().decode(stdout).trim();
}

/** Token ids of a text that is long enough, cut to `length`. */
async function promptIds(length: number): Promise<readonly number[]> {
  const text = new LocalText(readTextFiles(model));
  const [ids] = await text.encode([sentences.slice(0, length).join(" ")]);
  return ids.slice(0, length);
}

/** Batches of `size` sentences as token ids, enough for a few hundred milliseconds. */
async function sentenceBatches(size: number): Promise<readonly (readonly (readonly number[])[])[]> {
  const text = new LocalText(readTextFiles(encoder));
  const ids = await text.encode(sentences.slice(0, Math.max(192, 4 * size)));
  return Array.from(
    { length: Math.floor(ids.length / size) },
    (_, i) => ids.slice(i * size, (i + 1) * size),
  );
}

const here = new URL(".", import.meta.url).pathname;
const settings = [model, encoder, String(flags.threads)];
const graftArgs = ["run", "-A", "--no-check", `${here}inference_graft.ts`, ...settings];
const ortLib = flags["ort-lib"] ?? pythonOrtLib();
await using brought = new Measured("graft", Deno.execPath(), graftArgs);
await using alike = new Measured("graft, peer's runtime", Deno.execPath(), graftArgs, ortLib);
await using peer = new Measured("peer", python(), [`${here}inference_peer.py`, ...settings]);
const contenders = [brought, alike, peer];

/** The others' share of the processors from which on a turn counts as disturbed. */
const DISTURBED = 0.1;

/** Turns: what each contender answered to the same request. */
class Turns {
  readonly #turns: ReadonlyMap<string, Reply>[] = [];

  add(replies: ReadonlyMap<string, Reply>): void {
    this.#turns.push(replies);
  }

  /**
   * Units a second by the median time, and graft's ratios to the peer: medians of the ratios within
   * a turn, which hold where other work comes and goes. Disturbed turns are left out where there are
   * three others. Ratios of processor time depend on other work least, and say most with one thread,
   * where nobody spins.
   */
  summary(units: number): Record<string, unknown> {
    const isCalm = (turn: ReadonlyMap<string, Reply>) =>
      [...turn.values()].every(({ others }) => others < DISTURBED);
    const calm = this.#turns.filter(isCalm);
    const used = calm.length >= 3 ? calm : this.#turns;
    const out: Record<string, unknown> = { turns: this.#turns.length, undisturbed: calm.length };
    for (const { name } of contenders) {
      out[`${name}, per second`] = units / median(used.map((turn) => turn.get(name)!.ms)) * 1000;
      if (name === peer.name) continue;
      const ratio = (of: "ms" | "ownMs") =>
        median(used.map((turn) => turn.get(peer.name)![of] / turn.get(name)![of]));
      out[`${name}, ratio`] = ratio("ms");
      out[`${name}, ratio of processor time`] = ratio("ownMs");
    }
    return out;
  }
}

/** Longer than idle threads of a runtime spin for work, which would take it from the next one. */
const PAUSE_MS = 100;

const pause = () => new Promise<void>((done) => setTimeout(done, PAUSE_MS));

/** Waits until others leave the processors alone, but not for ever. */
async function calm(): Promise<void> {
  const end = performance.now() + Number(flags.patience) * 1000;
  await pause();
  while ((await watched([], pause)).others > DISTURBED && performance.now() < end);
}

/** Asks all the same in turn, beginning with another each time. */
async function askAll(request: object, turn: number): Promise<Map<string, Reply>> {
  const replies = new Map<string, Reply>();
  for (let i = 0; i < contenders.length; i++) {
    const who = contenders[(i + turn) % contenders.length];
    await calm();
    replies.set(who.name, await who.ask(request));
  }
  return replies;
}

/** How close two vectors of length 1 are. */
const cosine = (a: readonly number[], c: readonly number[]) =>
  a.reduce((sum, value, i) => sum + value * c[i], 0);

const rounds = Number(flags.rounds);

async function measureDecode(): Promise<void> {
  const tokens = Number(flags.tokens);
  const prompt = await promptIds(Number(flags.prompt));
  const [prefill, decode] = [new Turns(), new Turns()];
  const texts = new Map<string, number[]>();
  for (let round = -1; round < rounds; round++) {
    const warmUp = round < 0;
    const first = await askAll({ task: "prompt", prompt, tokens }, round + 1);
    for (const [name, { ids }] of first) texts.set(name, [...ids]);
    if (!warmUp) prefill.add(first);
    for (let left = tokens - 1, turn = 0; left >= BURST; left -= BURST, turn++) {
      const replies = await askAll({ task: "go on", tokens: BURST }, turn);
      for (const [name, { ids }] of replies) texts.get(name)!.push(...ids);
      if (!warmUp) decode.add(replies);
    }
  }
  const written = [...texts.values()].map((ids) => ids.join());
  console.log(JSON.stringify({
    task: "decode",
    model,
    prompt: prompt.length,
    tokens,
    sameTokens: written.every((ids) => ids === written[0]),
    promptTokens: prefill.summary(prompt.length),
    tokensDecoded: decode.summary(BURST),
  }));
}

async function measureEmbeddings(size: number): Promise<void> {
  const batches = await sentenceBatches(size);
  const turns = new Turns();
  let like = 0;
  for (let round = -1; round < rounds; round++) {
    const replies = await askAll({ task: "embed", batches }, round + 1);
    if (round >= 0) turns.add(replies);
    like = cosine(replies.get(brought.name)!.vector, replies.get(peer.name)!.vector);
  }
  console.log(JSON.stringify({
    task: "embed",
    model: encoder,
    batch: size,
    cosine: like,
    sentences: turns.summary(batches.length * size),
  }));
}

for (const who of contenders) {
  const { runtime } = await who.ask({ task: "version" });
  console.log(JSON.stringify({ who: who.name, runtime, threads: Number(flags.threads) }));
}
if (flags.skip !== "decode") await measureDecode();
if (flags.skip !== "embed") {
  for (const size of flags.batches.split(",")) await measureEmbeddings(Number(size));
}
