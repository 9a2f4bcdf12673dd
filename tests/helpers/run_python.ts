/** Runs Python programs that check graft's files with other people's readers. */
import { python } from "./requirements.ts";

/** Standard output of a program, without surrounding space; throws with its errors where it fails. */
export async function runPython(program: string, args: readonly string[] = []): Promise<string> {
  const command = new Deno.Command(python(), { args: ["-c", program, ...args], stdin: "null" });
  const { success, stdout, stderr } = await command.output();
  const text = new TextDecoder();
  if (!success) throw new Error(`Python failed: ${text.decode(stderr)}`);
  return text.decode(stdout).trim();
}

/** Of the tests' scripts: no network, and no second thread, which would spin on the core of a test beside. */
const ENVIRONMENT = { HF_HUB_OFFLINE: "1", TRANSFORMERS_VERBOSITY: "error", OMP_NUM_THREADS: "1" };

/** Names the socket of {@linkcode PythonForks} to the processes of tests. */
const SOCKET = "GRAFT_TEST_PYTHON_SOCKET";

const here = (script: string) => new URL(script, import.meta.url).pathname;

/** What a script that has ended leaves. */
interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * What a script of this folder writes, given a value on its standard input, both as JSON; without a network.
 *
 * @param script its name, as `peft_logits.py`
 */
export async function askPython<T>(script: string, request: unknown): Promise<T> {
  const socket = Deno.env.get(SOCKET);
  const input = JSON.stringify(request);
  const { code, stdout, stderr } = socket === undefined
    ? await runScript(here(script), input)
    : await runFork(socket, here(script), input);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

async function runScript(script: string, input: string): Promise<Ended> {
  const child = new Deno.Command(python(), {
    args: [script],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: ENVIRONMENT,
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

async function runFork(socket: string, script: string, input: string): Promise<Ended> {
  using connection = await Deno.connect({ transport: "unix", path: socket });
  const writer = connection.writable.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify({ script, input })));
  await connection.closeWrite();
  const answer = await new Response(connection.readable).text();
  if (answer === "") throw new Error(`The fork that ran ${script} ended before it answered`);
  return JSON.parse(answer);
}

/**
 * A process whose forks run the scripts of {@linkcode askPython} for all processes of tests that are given
 * its variables: torch, transformers and PEFT are imported once for all, at the first script.
 */
export class PythonForks implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  /** Of the environment of the processes of tests. */
  readonly variables: Readonly<Record<string, string>>;

  private constructor(child: Deno.ChildProcess, socket: string) {
    this.#child = child;
    this.variables = { [SOCKET]: socket };
  }

  /**
   * Starts it.
   *
   * @param folder where its socket lies
   * @returns `undefined` where there is no Python
   */
  static async start(folder: string): Promise<PythonForks | undefined> {
    const socket = `${folder}/python.socket`;
    try {
      const child = new Deno.Command(python(), {
        args: [here("python_forks.py"), socket],
        stdin: "piped",
        stdout: "piped",
        env: ENVIRONMENT,
      }).spawn();
      await child.stdout.pipeTo(new WritableStream()); // it ends once the socket is there
      return new PythonForks(child, socket);
    } catch {
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    await this.#child.status;
  }
}
