/**
 * A rank of `ranks_wire.ts`: sums arrays of the sizes given, as training sums gradients, and times it. Rank 0
 * prints JSON lines.
 *
 * usage: all_reduce_child.ts JSON, a list of {@linkcode Sums}
 */
import { Mpi, type MpiRequest } from "../../../ffi/mpi.ts";

/** An array to sum again and again. */
export interface Sums {
  readonly floats: number;
  readonly repeats: number;
}

/** What rank 0 prints of it. */
export interface SumsTaken extends Sums {
  /** Milliseconds of each sum. */
  readonly milliseconds: readonly number[];
  /** Bytes that a board sent for a sum, by its card's counter, the mean of all. */
  readonly bytesSent: number;
}

/** What rank 0 prints first. */
export interface Stream {
  /** Bits per second of a long message's bytes. */
  readonly bitsPerSecond: number;
}

/** As `src/distributed/communicator.ts` waits. */
const [ASK_AT_ONCE_MS, ASK_EVERY_MS] = [1, 1];
/** Sums before those that count. */
const WARM_UP = 2;
const STREAM_BYTES = 16 * 2 ** 20;

if (import.meta.main) {
  const mpi = await Mpi.open(Deno.env.get("GRAFT_MPI_LIB")!, "standard");
  const stream = await streamTo(mpi);
  if (mpi.rank === 0) console.log(JSON.stringify(stream));
  for (const sums of JSON.parse(Deno.args[0]) as readonly Sums[]) {
    const taken = await take(mpi, sums);
    if (mpi.rank === 0) console.log(JSON.stringify(taken));
  }
  await mpi.finalize();
}

/** Sends a long message from rank 0 to rank 1, and waits for an answer. */
async function streamTo(mpi: Mpi): Promise<Stream> {
  let seconds = 0;
  // The first one connects them.
  for (const bytes of [new Uint8Array(1), new Uint8Array(STREAM_BYTES)]) {
    await addUp(mpi, 0);
    const start = performance.now();
    if (mpi.rank === 0) {
      await done(mpi.send(bytes, 1, 0));
      await done(mpi.receive(new Uint8Array(1), 1, 1));
    } else if (mpi.rank === 1) {
      await done(mpi.receive(bytes, 0, 0));
      await done(mpi.send(new Uint8Array(1), 0, 1));
    }
    seconds = (performance.now() - start) / 1000;
  }
  return { bitsPerSecond: 8 * STREAM_BYTES / seconds };
}

async function take(mpi: Mpi, { floats, repeats }: Sums): Promise<SumsTaken> {
  const [values, sums] = [new Float32Array(floats).fill(mpi.rank), new Float32Array(floats)];
  const milliseconds: number[] = [];
  let before = 0;
  for (let i = -WARM_UP; i < repeats; i++) {
    if (i === 0) before = bytesSent();
    // All begin together.
    await addUp(mpi, 0);
    const start = performance.now();
    await done(mpi.sum(values, sums));
    if (i >= 0) milliseconds.push(performance.now() - start);
  }
  const sent = bytesSent() - before;
  const expected = mpi.size * (mpi.size - 1) / 2;
  if (sums.some((sum) => sum !== expected)) throw new Error(`Wrong sums: ${sums[0]}`);
  return { floats, repeats, milliseconds, bytesSent: await addUp(mpi, sent) / mpi.size / repeats };
}

/** Sums a number over all ranks. */
async function addUp(mpi: Mpi, number: number): Promise<number> {
  const sum = new Float64Array(1);
  await done(mpi.sum(Float64Array.of(number), sum));
  return sum[0];
}

async function done(request: MpiRequest): Promise<void> {
  while (true) {
    const until = performance.now() + ASK_AT_ONCE_MS;
    do if (request.test()) return; while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
}

/** What this board's card has sent so far. */
function bytesSent(): number {
  const line = /^\s*eth0:(.*)$/m.exec(Deno.readTextFileSync("/proc/net/dev"))![1];
  return Number(line.trim().split(/\s+/)[8]);
}
