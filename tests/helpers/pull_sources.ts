/** Pulls of one small model from each place that a model can come from, and what they must leave. */
import { join } from "@std/path";
import { pull } from "../../src/tasks/pull.ts";
import { fileOf, smallModel } from "./onnx_messages.ts";
import { FakeHub } from "./fake_hub.ts";
import { filesIn } from "./files_in.ts";
import { noise } from "./hub_pull.ts";
import { tarOf } from "./tar.ts";

export type PullSource = "folder" | "tar" | "hub";

type Files = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/** Two versions of a model: they share a file. */
function filesOf(version: 1 | 2): Files {
  return new Map([
    ["config.json", new TextEncoder().encode(`{"version": ${version}}`)],
    ["data/extra.json", noise(3000)],
    ["model.onnx", fileOf(smallModel({ name: `v${version}` })) as Uint8Array<ArrayBuffer>],
    ["tokenizer.json", noise(70_000, version)],
  ]);
}

/** A place for pulls of its own: source, cache and store. */
export class PullPlace implements AsyncDisposable {
  readonly root = Deno.makeTempDirSync({ prefix: "graft-pulls-" });
  readonly #hub = new FakeHub();
  #files: Files = new Map();

  constructor(readonly source: PullSource) {}

  /** Variables of the environment that a pull needs. */
  get environment(): Record<string, string> {
    return {
      HF_ENDPOINT: this.#hub.endpoint,
      HF_HOME: join(this.root, "hf"),
      HF_HUB_OFFLINE: "0",
      GRAFT_HOME: join(this.root, "graft"),
    };
  }

  /** What stands on the command line after `pull`. */
  get args(): readonly string[] {
    const { root, source } = this;
    if (source === "hub") return ["org/tiny", "--include", "*"];
    return [join(root, source === "tar" ? "model.tar" : "model"), "--name", "org/tiny"];
  }

  get cache(): string {
    return join(this.root, "hf", "hub");
  }

  /** Removes what was pulled. */
  clear(): void {
    Deno.removeSync(join(this.root, "hf"), { recursive: true });
  }

  /** Puts a version of the model where it is pulled from. */
  offer(version: 1 | 2): void {
    this.#files = filesOf(version);
    const { root, source } = this;
    if (source === "hub") this.#hub.add("org/tiny", Object.fromEntries(this.#files));
    else if (source === "tar") {
      const entries = [...this.#files].map(([name, content]) => ({ name, content }));
      Deno.writeFileSync(join(root, "model.tar"), tarOf(...entries));
    } else {
      for (const [name, content] of this.#files) {
        Deno.mkdirSync(join(root, "model", name, ".."), { recursive: true });
        Deno.writeFileSync(join(root, "model", name), content);
      }
    }
  }

  /** Pulls it in this process. */
  async pull(): Promise<void> {
    for (const [name, value] of Object.entries(this.environment)) Deno.env.set(name, value);
    const [operand] = this.args;
    const what = this.source === "hub" ? { include: ["*"] } : { name: "org/tiny" };
    await pull({ source: operand, ...what });
  }

  /**
   * What is wrong with what is there: each snapshot must be a version of the model, whole.
   *
   * @param ended whether a pull has come to its end: its version is there then, and nothing unfinished
   * @returns one line each
   */
  faults(ended: boolean): readonly string[] {
    const folder = join(this.cache, "models--org--tiny");
    const snapshots = namesIn(join(folder, "snapshots"));
    const whole = snapshots.map((commit) => join(folder, "snapshots", commit))
      .map((path) => ([1, 2] as const).filter((version) => holds(path, filesOf(version))));
    const faults = snapshots.filter((_, i) => whole[i].length === 0)
      .map((commit) =>
        `snapshots/${commit} is torn: ${filesIn(join(folder, "snapshots", commit))}`
      );
    if (!ended) return faults;
    const main = join(folder, "snapshots", readText(join(folder, "refs/main")));
    if (!holds(main, this.#files)) faults.push("main is not what was pulled last");
    const expected =
      /^(\.locks\/.*|models--org--tiny\/(blobs\/[0-9a-f]+|refs\/(main|local)|snapshots\/.*))$/;
    faults.push(
      ...filesIn(this.cache).filter((path) => !expected.test(path)).map((path) => `left: ${path}`),
      ...namesIn(this.cache).filter((name) => name.startsWith(".un")).map((name) =>
        `left: ${name}`
      ),
    );
    return faults;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hub[Symbol.asyncDispose]();
    Deno.removeSync(this.root, { recursive: true });
  }
}

function holds(folder: string, files: Files): boolean {
  if (filesIn(folder).join() !== [...files.keys()].sort().join()) return false;
  return files.entries().every(([name, content]) => {
    try {
      const found = Deno.readFileSync(join(folder, name));
      return found.length === content.length && found.every((byte, i) => byte === content[i]);
    } catch {
      return false; // a link that leads nowhere
    }
  });
}

function namesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  } catch {
    return []; // it was not made yet
  }
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "none";
  }
}
