/** Reports once where graphs run, after those that belong together have been compiled. */
import { describePlacement, type Placement } from "./placement.ts";

/** Milliseconds without another graph after which the report is printed. */
const QUIET_MS = 3000;

/** Collects the placement of sessions: training creates a dozen in its first step. */
export class PlacementReport implements Disposable {
  readonly #wanted: readonly string[];
  readonly #note: (line: string) => void;
  #placements: Placement[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param wanted providers that were asked for, best first, as ORT lists them */
  constructor(wanted: readonly string[], note: (line: string) => void) {
    this.#wanted = wanted;
    this.#note = note;
  }

  add(placement: Placement): void {
    this.#placements.push(placement);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#print(), QUIET_MS);
    // It is printed at the end at the latest, so the timer need not keep the process alive.
    Deno.unrefTimer(Number(this.#timer));
  }

  /** Prints the rest. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#print();
  }

  #print(): void {
    const placements = this.#placements;
    this.#placements = [];
    if (placements.length === 0) return;
    for (const line of describePlacement(placements, this.#wanted)) this.#note(line);
  }
}
