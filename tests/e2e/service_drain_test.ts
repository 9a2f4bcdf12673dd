/** `systemctl stop` leaves no answer in work; how the bound cuts one is in `service_daemon_test.ts`. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { modelDir } from "../helpers/fixture_models.ts";
import { type Systemd, testUnderSystemd } from "../helpers/systemd.ts";
import { until } from "../helpers/until.ts";
import { install } from "../helpers/systemd_service.ts";

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

/** Clients that ask at once: their texts are answered one after the other. */
const CLIENTS = 12;

async function askedAlone(systemd: Systemd): Promise<Json> {
  const client = await Client.connect(systemd);
  const answer = await client.ask(QUESTION);
  client.close();
  return answer;
}

/**
 * Stops the service's process amid its work: each client asks again until it stands still, so that
 * all of them wait then. Returns their last answers, which come once it goes on.
 */
async function standsStillAmidAnswers(
  systemd: Systemd,
): Promise<{ readonly waiting: () => number; readonly answers: Promise<readonly Json[]> }> {
  const clients: Client[] = [];
  for (let client = 0; client < CLIENTS; client++) clients.push(await Client.connect(systemd));
  let [answered, waiting, still] = [0, CLIENTS, false];
  const answers = Promise.all(clients.map(async (client) => {
    let answer: Json;
    do {
      answer = await client.ask(QUESTION);
      answered++;
    } while (!still);
    waiting--;
    client.close();
    return answer;
  }));
  await until("the first answer is there", () => answered > 0 || undefined);
  // The main process alone: it alone is sent SIGCONT when it is told to stop.
  const kill = ["kill", "--kill-whom=main", "--signal=SIGSTOP", UNIT];
  const { code, stderr } = await systemd.run("systemctl", ...kill);
  assertEquals(code, 0, stderr);
  await new Promise((resolve) => setTimeout(resolve, 100)); // what was written arrives, is asked
  still = true;
  return { waiting: () => waiting, answers };
}

testUnderSystemd(
  "systemctl stop waits for the texts that graft service was asked for",
  async (systemd) => {
    await install(systemd, modelDir("tiny-llama-genai-int4"));
    const whole = await askedAlone(systemd);
    assertEquals(whole.finish_reason, "length");
    const { waiting, answers } = await standsStillAmidAnswers(systemd);
    assertEquals(waiting(), CLIENTS);
    // systemd sends SIGTERM, then SIGCONT (systemd.kill): it is told to stop before it goes on.
    const stop = systemd.run("systemctl", "stop", UNIT);
    const found = await answers;
    const refused = found.filter(({ error }) => error?.status === "ending"); // read after the stop
    const answered = found.filter(({ error }) => error === undefined);
    assertEquals(answered, new Array(CLIENTS - refused.length).fill(whole));
    assert(answered.length > 0, "no text that it had read was answered after it was told to stop");
    assertEquals((await stop).code, 0);
    const { ActiveState, Result, ExecMainStatus, TimeoutStopUSec } = await systemd.show(UNIT);
    assertEquals([ActiveState, Result, ExecMainStatus], ["inactive", "success", "0"]);
    assertEquals(TimeoutStopUSec, "30s");
    const events = await systemd.journal(UNIT);
    assertEquals(
      events.findLast(({ GRAFT_EVENT }) => GRAFT_EVENT === "ended")?.MESSAGE,
      "Ended in order",
    );
    const gone = await systemd.graft("service", "ask", QUESTION);
    assertEquals(gone.code, 69);
    assertMatch(
      gone.stderr,
      /The service does not answer on \/run\/graft\/socket: .*is it running/,
    );
  },
);
