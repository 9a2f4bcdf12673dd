/** A service under load for minutes on end, models taking turns in it. */
import { join } from "@std/path";
import { TextLineStream } from "@std/streams";
import { graftProcess as graft, startGraft } from "../../../tests/helpers/graft.ts";
import { isSocket } from "../../../tests/helpers/is_socket.ts";
import { promotedModel } from "../../../tests/helpers/promoted_model.ts";
import { until } from "../../../tests/helpers/until.ts";
import { Random } from "../../../src/random.ts";
import { type Figures, type Growth, growthOf, lookAt, sleep } from "./process_figures.ts";

export interface ServiceSoak extends Growth {
  readonly answers: number;
  /** Answers that are none for a reason: texts that are empty or too long. */
  readonly refused: number;
  readonly swaps: number;
}

const CLIENTS = 4;
const SWAP_MS = 10_000;

/**
 * Runs `graft service run` on two copies of a model that are swapped all the time, asked by clients
 * that come and go: some wait for each answer, some leave before it comes.
 *
 * @param model folder of a model
 * @param folder for what it makes
 */
export async function soakService(
  model: string,
  folder: string,
  minutes: number,
): Promise<ServiceSoak> {
  const [state, socket] = [join(folder, "state"), join(folder, "socket")];
  for (const name of ["0001", "0002"]) promotedModel(model, state, name);
  const child = startGraft(
    ...["service", "run", "--model", model, "--state", state, "--socket", socket],
    ...["--n-predict", "24", "--threads", "2"],
  );
  const log = new Response(child.stderr).text();
  const ends = child.status.then(async () => {
    throw new Error(`The service ended: ${await log}`);
  });
  ends.catch(() => {});
  await Promise.race([ends, until("it listens", () => isSocket(socket))]);
  const end = performance.now() + minutes * 60_000;
  const counts = { answers: 0, refused: 0, swaps: 0 };
  const looks: Figures[] = [];
  const goesOn = () => performance.now() < end;
  try {
    await Promise.race([
      ends,
      Promise.all([
        ...Array.from({ length: CLIENTS }, (_, i) => askOn(socket, i, goesOn, counts)),
        swapOn(state, goesOn, counts),
        lookAt(child.pid, goesOn, looks),
      ]),
    ]);
  } finally {
    child.kill("SIGTERM");
  }
  await child.status;
  return { ...counts, ...growthOf(looks) };
}

type Counts = { answers: number; refused: number; swaps: number };

async function askOn(
  path: string,
  client: number,
  goesOn: () => boolean,
  counts: Counts,
): Promise<void> {
  const random = Random.fromSeed(client);
  const draw = (below: number) => random.next() % below;
  while (goesOn()) {
    const connection = await Deno.connect({ transport: "unix", path });
    const lines: ReadableStream<string> = connection.readable
      .pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    const answers = lines.getReader();
    for (let asks = draw(20); asks >= 0 && goesOn(); asks--) {
      const words = draw(50) === 0 ? 0 : draw(40) === 0 ? 5000 : 1 + draw(60);
      const text = Array.from({ length: words }, () => `word${draw(1000)}`).join(" ");
      await connection.write(new TextEncoder().encode(`${text}\n`));
      // One in ten goes away while its answer is made.
      if (draw(10) === 0) break;
      const { value } = await answers.read();
      if (value === undefined) break;
      if ("error" in JSON.parse(value)) counts.refused++;
      else counts.answers++;
    }
    connection.close();
  }
}

/** Has the models take turns, by the command that an operator uses. */
async function swapOn(state: string, goesOn: () => boolean, counts: Counts): Promise<void> {
  for (let turn = 1; goesOn(); turn++) {
    const to = turn % 3 === 0 ? "base" : `000${turn % 3}`;
    const { code, stderr } = await graft("service", "rollback", "--state", state, "--to", to);
    if (code !== 0) throw new Error(`Cannot swap to ${to}: ${stderr}`);
    counts.swaps++;
    await sleep(SWAP_MS);
  }
}
