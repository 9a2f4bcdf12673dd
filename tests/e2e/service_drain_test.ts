/** What `systemctl stop` leaves of answers in work: all of them, or as much as the bound allows. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { modelDir } from "../helpers/fixture_models.ts";
import { type Systemd, testUnderSystemd, until } from "../helpers/systemd.ts";
import { install, override } from "../helpers/systemd_service.ts";

const UNIT = "graft.service";
/** What the tiny model answers until its context is full. */
const QUESTION = "How do I top up?";

// deno-lint-ignore no-explicit-any -- an answer's JSON
type Json = any;

/** A client of the service from outside of its namespaces. */
class Client {
  private constructor(readonly connection: Deno.UnixConn) {}

  static async connect(systemd: Systemd): Promise<Client> {
    const path = `/proc/${systemd.pid}/root/run/graft/socket`;
    return new Client(await Deno.connect({ transport: "unix", path }));
  }

  async ask(text: string): Promise<Json> {
    await this.connection.write(new TextEncoder().encode(`${text}\n`));
    let answer = "";
    const decoder = new TextDecoder();
    const chunk = new Uint8Array(4096);
    while (!answer.endsWith("\n")) {
      const count = await this.connection.read(chunk);
      if (count === null) throw new Error(`The service ended the connection after "${answer}"`);
      answer += decoder.decode(chunk.subarray(0, count), { stream: true });
    }
    return JSON.parse(answer);
  }

  close(): void {
    this.connection.close();
  }
}

/** The answer of a service that has nothing else to do, and the seconds that it took. */
async function answerAlone(systemd: Systemd): Promise<{ whole: Json; took: number }> {
  const client = await Client.connect(systemd);
  const start = performance.now();
  const whole = await client.ask(QUESTION);
  client.close();
  return { whole, took: (performance.now() - start) / 1000 };
}

/**
 * Has the service take so many times as long, until it is gone: it runs for a share of the time. A
 * quota of the processor would be used up by threads that wait for each other.
 */
async function slowDown(systemd: Systemd, factor: number): Promise<void> {
  const { MainPID } = await systemd.show(UNIT);
  const share = Math.min(0.5, 1 / factor);
  const [still, running] = [1 - share, share].map((part) => (part / 10).toFixed(4));
  const loop = `while kill -STOP $1; do sleep ${still}; kill -CONT $1; sleep ${running}; done`;
  void systemd.run("sh", "-c", `(${loop}) 2>/dev/null`, "sh", MainPID);
}

interface Stopped {
  /** What came back for each text that was there when the stop came. */
  readonly answers: readonly Json[];
  readonly seconds: number;
}

/** Stops the service while it generates, and looks at what it refuses meanwhile. */
async function stopWhileAnswering(systemd: Systemd, texts: number): Promise<Stopped> {
  const asking: Client[] = [];
  for (let text = 0; text < texts; text++) asking.push(await Client.connect(systemd));
  const waiting = await Client.connect(systemd);
  let answered = false;
  const answers = Promise.all(asking.map((client) => client.ask(QUESTION)))
    .finally(() => answered = true);
  answers.catch(() => {}); // told at the end, where nothing fails before
  await new Promise((resolve) => setTimeout(resolve, 500)); // it generates
  assert(!answered, "the stop must come while a text is generated");
  const start = performance.now();
  const stop = systemd.run("systemctl", "stop", UNIT);
  await until("it is told to stop", async () => {
    const { ActiveState } = await systemd.show(UNIT);
    return ActiveState === "deactivating" || undefined;
  });
  const [late, fresh] = [await waiting.ask(QUESTION), await Client.connect(systemd)];
  assertEquals(late.error?.status, "ending", JSON.stringify(late));
  assertEquals((await fresh.ask(QUESTION)).error.status, "ending");
  assert(!answered, "the refusals must come while a text is generated");
  const { code } = await stop;
  assertEquals(code, 0);
  const seconds = (performance.now() - start) / 1000;
  const { ActiveState, Result, ExecMainStatus, TimeoutStopUSec } = await systemd.show(UNIT);
  assertEquals([ActiveState, Result, ExecMainStatus], ["inactive", "success", "0"]);
  assertEquals(TimeoutStopUSec, "30s");
  const events = await systemd.journal(UNIT);
  assertEquals(
    events.findLast(({ GRAFT_EVENT }) => GRAFT_EVENT === "ended")?.MESSAGE,
    "Ended in order",
  );
  const found = await answers;
  for (const client of [...asking, waiting, fresh]) client.close();
  return { answers: found, seconds };
}

testUnderSystemd(
  "systemctl stop waits for the text that graft service generates, and refuses new ones",
  async (systemd) => {
    await install(systemd, modelDir("tiny-llama-genai-int4"));
    const { whole, took } = await answerAlone(systemd);
    assertEquals(whole.finish_reason, "length");
    // Some seconds on every machine: longer than the stop takes to come, shorter than the bound.
    await slowDown(systemd, 5 / took);
    const { answers, seconds } = await stopWhileAnswering(systemd, 1);
    assertEquals(answers, [whole]);
    assert(seconds < 20, `it took ${seconds} s`);
    const gone = await systemd.graft("service", "ask", QUESTION);
    assertEquals(gone.code, 69);
    assertMatch(
      gone.stderr,
      /The service does not answer on \/run\/graft\/socket: .*is it running/,
    );
  },
);

testUnderSystemd(
  "systemctl stop has a text end where it is when the time for draining is over, and refuses the rest",
  async (systemd) => {
    const model = modelDir("tiny-llama-genai-int4");
    await install(systemd, model, "--no-start");
    const words = (await systemd.show(UNIT)).ExecStart.match(/argv\[\]=(.*?) ;/)![1];
    const line = `ExecStart=${words.replace(/--drain \d+/, "--drain 6")}`;
    await override(systemd, UNIT, "ExecStart=", line);
    assertEquals((await systemd.run("systemctl", "start", UNIT)).code, 0);
    const { whole, took } = await answerAlone(systemd);
    await slowDown(systemd, 3 / took);
    const { answers, seconds } = await stopWhileAnswering(systemd, 10);
    const kinds = answers.map(({ finish_reason, error }) => finish_reason ?? error.status);
    assertMatch(kinds.join(" "), /^(length )*(abort )?ending( ending)*$/);
    for (const { text } of answers.filter(({ error }) => error === undefined)) {
      assert(whole.text.startsWith(text), `${text} is no beginning of ${whole.text}`);
    }
    assert(seconds < 15, `it took ${seconds} s`);
  },
);
