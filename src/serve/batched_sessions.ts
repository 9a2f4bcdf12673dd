/**
 * Sessions that share runs (continuous batching): each has a row of the caches while it lasts, prompts
 * are read in pieces between the runs, and every run reads the next token of all sessions that have one.
 * A row that is free keeps what it has read: a request that begins alike goes on from there.
 */
import { setImmediate } from "node:timers";
import type { AdapterMatrices } from "./adapter_inputs.ts";
import type { RowReader } from "./batch_reader.ts";
import type { TokenSession, TokenSessions } from "./token_sessions.ts";

/** Tokens of a prompt that are read at once, alone, and between the tokens of others. */
const PROMPT_CHUNK = 512;
const CHUNK_BETWEEN = 128;

/** Common tokens from which on copying them is faster than reading them. */
const WORTH_COPYING = 8;

interface Row {
  readonly index: number;
  /** Tokens whose keys and values it has. */
  tokens: number[];
  /** What they were read with. */
  adapter?: AdapterMatrices;
  session?: Session;
  /** Grows with every use. */
  usedAt: number;
}

/** A read that was asked for. */
interface Pending {
  /** Tokens still to be read; those of a session without a row are its whole text. */
  fresh: readonly number[];
  resolve(logits: Float32Array): void;
  reject(error: unknown): void;
}

interface Session {
  readonly adapter?: AdapterMatrices;
  readonly onTurn?: () => void;
  row?: Row;
  pending?: Pending;
  /** Of its last token: the runs' own are overwritten by the next run, of whoever. */
  logits?: Float32Array;
}

export class BatchedSessions implements TokenSessions {
  readonly #reader: RowReader;
  readonly #rows: readonly Row[];
  /** Sessions without a row that have something to read, in the order in which they came. */
  readonly #waiting = new Set<Session>();
  #working = false;
  #uses = 0;

  /** @param reader the caller owns it */
  constructor(reader: RowReader) {
    this.#reader = reader;
    this.#rows = Array.from(
      { length: reader.rows },
      (_, index): Row => ({ index, tokens: [], usedAt: 0 }),
    );
  }

  get parallel(): number {
    return this.#rows.length;
  }

  open(signal?: AbortSignal, adapter?: AdapterMatrices, onTurn?: () => void): TokenSession {
    const session: Session = { adapter, onTurn };
    const leave = () => {
      session.pending?.reject(signal?.reason);
      session.pending = undefined;
      this.#waiting.delete(session);
    };
    signal?.addEventListener("abort", leave, { once: true });
    const ask = (fresh: readonly number[]) => {
      if (signal?.aborted) return Promise.reject(signal.reason);
      const { promise, ...settle } = Promise.withResolvers<Float32Array>();
      session.pending = { fresh, ...settle };
      if (session.row === undefined) this.#waiting.add(session);
      void this.#work();
      return promise;
    };
    return {
      continueTo: (ids) => {
        const { row } = session;
        if (row !== undefined) row.tokens.length = commonLength(row.tokens, ids);
        return ask(row === undefined ? ids : ids.slice(row.tokens.length));
      },
      advance: ask,
      [Symbol.dispose]: () => {
        signal?.removeEventListener("abort", leave);
        leave();
        if (session.row !== undefined) this.#free(session.row);
        session.row = undefined;
        void this.#work();
      },
    };
  }

  /** Runs until nobody waits for a read. */
  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    try {
      // Requests that come in the same turn are read together.
      do await turn(); while (await this.#step());
    } catch (error) {
      this.#fail(this.#rows, error);
    } finally {
      this.#working = false;
    }
  }

  /** Rejects the reads of rows, whose caches may be inconsistent now. */
  #fail(rows: readonly Row[], error: unknown): void {
    for (const row of rows) {
      row.tokens = [];
      row.session?.pending?.reject(error);
      if (row.session !== undefined) row.session.pending = undefined;
    }
  }

  /** Does what is to be done next: a token of all that have one, and a piece of the oldest prompt. */
  async #step(): Promise<boolean> {
    this.#admit();
    const asking = this.#rows.filter(({ session }) => session?.pending !== undefined);
    const prompts = asking.filter(({ session }) => session!.pending!.fresh.length > 1);
    const hasTokens = prompts.length < asking.length;
    if (hasTokens) await this.#readTokens();
    if (prompts.length > 0) {
      const oldest = prompts.reduce((a, b) => a.usedAt < b.usedAt ? a : b);
      await this.#readPiece(oldest, hasTokens ? CHUNK_BETWEEN : PROMPT_CHUNK);
    }
    return asking.length > 0;
  }

  /** Gives rows to waiting sessions. */
  #admit(): void {
    for (const session of this.#waiting) {
      const ids = session.pending!.fresh;
      const row = this.#rowFor(session, ids);
      if (row === undefined) return;
      this.#waiting.delete(session);
      this.#copyBeginning(row, session, ids);
      session.row = row;
      row.session = session;
      session.onTurn?.();
      session.pending!.fresh = ids.slice(row.tokens.length);
      row.usedAt = ++this.#uses;
    }
  }

  /**
   * A free row: among or beside those in use, because a run reads neighbouring rows; the one that begins
   * like the text, or else has not been used for longest.
   */
  #rowFor({ adapter }: Session, ids: readonly number[]): Row | undefined {
    const free = this.#rows.filter(({ session }) => session === undefined);
    const used = this.#rows.filter(({ session }) => session !== undefined);
    const [first, last] = [used[0]?.index, used.at(-1)?.index];
    const inside = free.filter(({ index }) => index > first && index < last!);
    const beside = free.filter(({ index }) => index === first - 1 || index === last! + 1);
    const candidates = used.length === 0 ? free : inside.length > 0 ? inside : beside;
    const common = new Map(candidates.map((row) => [row, knownLength(row, adapter, ids)]));
    return candidates.toSorted((a, b) => common.get(b)! - common.get(a)! || a.usedAt - b.usedAt)[0];
  }

  /** Keeps what the row has of a text's beginning, or copies it from a row that has more. */
  #copyBeginning(row: Row, { adapter }: Session, ids: readonly number[]): void {
    row.tokens.length = knownLength(row, adapter, ids);
    row.adapter = adapter;
    const [most] = this.#rows.map((other) => ({ other, count: knownLength(other, adapter, ids) }))
      .sort((a, b) => b.count - a.count);
    if (most.count < row.tokens.length + WORTH_COPYING) return;
    this.#reader.copy(most.other.index, row.index, most.count);
    row.tokens = ids.slice(0, most.count);
  }

  /** Reads the next tokens of a prompt. */
  async #readPiece(row: Row, most: number): Promise<void> {
    // Its session may have left, or moved to another row.
    const pending = row.session?.pending;
    if (pending === undefined) return;
    const fresh = pending.fresh.slice(0, most);
    const logits = await this.#read([{ row, fresh }]);
    if (logits === undefined) return;
    pending.fresh = pending.fresh.slice(fresh.length);
    if (pending.fresh.length === 0) this.#answer(row, pending, logits[0]);
  }

  /** Reads a token of each session that has one; other rows between them read one that is forgotten. */
  async #readTokens(): Promise<void> {
    this.#closeGaps();
    const tokenOf = ({ session }: Row) =>
      session?.pending?.fresh.length === 1 ? session.pending : undefined;
    const asking = this.#rows.filter((row) => tokenOf(row) !== undefined);
    const span = this.#rows.slice(asking[0].index, asking.at(-1)!.index + 1);
    const reads = span.map((row) => ({ row, pending: tokenOf(row) }));
    for (const { row, pending } of reads) {
      // There must be room for the forgotten token.
      if (pending === undefined && row.tokens.length >= this.#reader.longest) row.tokens.pop();
    }
    const logits = await this.#read(
      reads.map(({ row, pending }) => ({ row, fresh: pending?.fresh ?? PADDING })),
    );
    if (logits === undefined) return;
    reads.forEach(({ row, pending }, i) => {
      if (pending === undefined) row.tokens.pop();
      else this.#answer(row, pending, logits[i]);
    });
  }

  /** Resolves a read, unless its session has left meanwhile. */
  #answer({ session }: Row, pending: Pending, logits: Float32Array): void {
    if (session?.pending !== pending) return;
    session.pending = undefined;
    session.logits ??= new Float32Array(logits.length);
    session.logits.set(logits);
    pending.resolve(session.logits);
  }

  /** Reads in neighbouring rows, and adds the tokens to them; after an error it rejects those who asked. */
  async #read(
    texts: readonly { readonly row: Row; readonly fresh: readonly number[] }[],
  ): Promise<Float32Array[] | undefined> {
    // A token that is forgotten needs no adapter of its own, which would be one more in the run.
    const asked = texts.find(({ fresh }) => fresh !== PADDING)!.row;
    const reads = texts.map(({ row, fresh }) => ({
      fresh,
      start: row.tokens.length,
      adapter: (fresh === PADDING ? asked : row).adapter,
    }));
    try {
      const total = Math.max(...reads.map(({ fresh, start }) => start + fresh.length));
      this.#reader.reserve(total, this.#rows.map(({ tokens }) => tokens.length));
      const logits = await this.#reader.read(texts[0].row.index, reads);
      for (const { row, fresh } of texts) row.tokens.push(...fresh);
      return logits;
    } catch (error) {
      this.#fail(texts.map(({ row }) => row), error);
      return undefined;
    }
  }

  /** Moves texts from the end of the rows in use into free rows between them. */
  #closeGaps(): void {
    if (this.#waiting.size > 0) return;
    for (;;) {
      const used = this.#rows.filter(({ session }) => session !== undefined);
      const [first, last] = [used[0], used.at(-1)!];
      const gap = this.#rows.find(({ index, session }) =>
        session === undefined && index > first.index && index < last.index
      );
      if (gap === undefined) return;
      this.#reader.copy(last.index, gap.index, last.tokens.length);
      gap.tokens = [...last.tokens];
      gap.adapter = last.adapter;
      gap.session = last.session;
      gap.session!.row = gap;
      gap.usedAt = last.usedAt;
      this.#free(last);
    }
  }

  #free(row: Row): void {
    row.session = undefined;
    row.usedAt = ++this.#uses;
  }
}

/** A token for rows without one. */
const PADDING: readonly number[] = [0];

/** Number of a text's tokens that a row has read with the same adapter. */
function knownLength(
  row: Row,
  adapter: AdapterMatrices | undefined,
  ids: readonly number[],
): number {
  return row.adapter === adapter ? commonLength(row.tokens, ids) : 0;
}

/** Number of tokens that a text begins with, but not all of it: its last token must be read. */
function commonLength(tokens: readonly number[], ids: readonly number[]): number {
  const most = Math.min(tokens.length, ids.length - 1);
  for (let i = 0; i < most; i++) if (tokens[i] !== ids[i]) return i;
  return Math.max(0, most);
}

/** Lets those who were answered ask again, and the event loop do other things. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
