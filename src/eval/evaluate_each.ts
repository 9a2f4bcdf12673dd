/** Batches that one process evaluates, or several together: each some of them, and all get all results. */

/** Processes that evaluate the same model on the same batches. All call the same functions in order. */
export interface EvaluationPeers {
  /** Number of this process, from 0. */
  readonly rank: number;
  /** Processes, at least 2. */
  readonly count: number;
  /** Sums numbers over all of them, in double precision. */
  sum(numbers: readonly number[]): Promise<readonly number[]>;
}

/** Of several processes. */
export interface Together {
  readonly peers?: EvaluationPeers;
  /** Whether each evaluates the next batch itself, since it needs more of it than numbers; default never. */
  readonly all?: () => boolean;
}

/**
 * The results of batches in their order. Several processes take them in turn, as one would evaluate them:
 * results are the same to the bit if the processes compute alike. After each round all have its results, so
 * that none waits for another longer than for a batch.
 *
 * @param evaluate the numbers that are a batch's result
 */
export async function* evaluateEach<B>(
  batches: AsyncIterable<B> | Iterable<B>,
  evaluate: (batch: B) => Promise<readonly number[]>,
  { peers, all = () => false }: Together = {},
): AsyncGenerator<readonly number[]> {
  if (peers === undefined) {
    for await (const batch of batches) yield await evaluate(batch);
    return;
  }
  let round: B[] = [];
  for await (const batch of batches) {
    if (all()) {
      // Of processes that round differently, the first one's result counts.
      const found = await evaluate(batch);
      yield* await exchanged(peers, 1, peers.rank === 0 ? { place: 0, found } : undefined);
      continue;
    }
    round.push(batch);
    if (round.length < peers.count) continue;
    yield* await inTurn(peers, round, evaluate);
    round = [];
  }
  if (round.length > 0) yield* await inTurn(peers, round, evaluate);
}

async function inTurn<B>(
  peers: EvaluationPeers,
  round: readonly B[],
  evaluate: (batch: B) => Promise<readonly number[]>,
): Promise<readonly (readonly number[])[]> {
  const place = peers.rank;
  const own = place < round.length ? { place, found: await evaluate(round[place]) } : undefined;
  return await exchanged(peers, round.length, own);
}

/** Gives all processes the results of some places, each of which one of them has. */
async function exchanged(
  peers: EvaluationPeers,
  places: number,
  own: { readonly place: number; readonly found: readonly number[] } | undefined,
): Promise<readonly (readonly number[])[]> {
  const sizes = await peers.sum(
    Array.from({ length: places }, (_, place) => place === own?.place ? own.found.length : 0),
  );
  const starts = sizes.map((_, place) => sizes.slice(0, place).reduce((sum, n) => sum + n, 0));
  const numbers = new Array<number>(starts[places - 1] + sizes[places - 1]).fill(0);
  own?.found.forEach((number, i) => numbers[starts[own.place] + i] = number);
  // A number and zeros: sums are exact.
  const joined = await peers.sum(numbers);
  return sizes.map((size, place) => joined.slice(starts[place], starts[place] + size));
}
