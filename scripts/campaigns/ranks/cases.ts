/** Which faults the campaign injects: drawn from a seed. */
import { Random } from "../../../src/random.ts";

/** What happens to a rank or its board. */
export const FAULTS = ["killed", "stopped", "unplugged", "plugged back", "losing packets"] as const;
export type Fault = typeof FAULTS[number];

/** When it happens. */
export const MOMENTS = ["planning", "step", "checkpoint", "evaluation"] as const;
/** Before it has joined the others. */
export type Moment = "starting" | typeof MOMENTS[number];

/** A fault to inject. */
export interface FaultCase {
  readonly number: number;
  readonly fault: Fault;
  readonly moment: Moment;
  readonly rank: number;
  readonly ranks: number;
  /** `--collective-timeout`, in seconds. */
  readonly timeout: number;
  /** Ranks that go on with the run; 1 is a process without a launcher. */
  readonly resumedBy: number;
  /** Number of the step, checkpoint or evaluation, as a share of all. */
  readonly at: number;
  /** How much later than the moment began. */
  readonly delayMs: number;
  /** Seconds that a cable is out. */
  readonly outSeconds: number;
  /** Packets lost, in percent. */
  readonly lossPercent: number;
}

/** Boards of a job at most. */
export const MOST_RANKS = 4;
/** The longest delay. */
const DELAY_MS = 40;

/** Whether the job goes on in spite of the fault. */
export const goesOn = ({ fault }: Pick<FaultCase, "fault">): boolean =>
  fault === "plugged back" || fault === "losing packets";

/**
 * Timeouts of jobs that are to give a rank up, of those that are to go on, and one after which libraries
 * know of a broken connection themselves.
 */
const TIMEOUTS = { givesUp: 10, goesOn: 30, patient: 45 };

/** Whether it takes long to be noticed: slow boards start and plan for minutes. */
export const isSlow = ({ fault, moment, timeout }: FaultCase): boolean =>
  timeout === TIMEOUTS.patient ||
  (moment === "starting" || moment === "planning") &&
    (fault === "stopped" || fault === "unplugged");

/** Cases in which every fault meets every moment; of more than those, others of the quick ones. */
export function drawCases(seed: number, count: number): readonly FaultCase[] {
  const random = Random.fromSeed(seed);
  const share = () => random.next() / 2 ** 32;
  const below = (count: number) => Math.floor(share() * count);
  const pairs: readonly (readonly [Fault, Moment, timeout?: number])[] = [
    ["killed", "starting"],
    ["stopped", "starting"],
    ...FAULTS.flatMap((fault) => MOMENTS.map((moment) => [fault, moment] as const)),
    ["unplugged", "step", TIMEOUTS.patient],
  ];
  const later = MOMENTS.slice(1);
  return Array.from({ length: count }, (_, number) => {
    const [fault, moment, timeout] = pairs[number] ??
      [FAULTS[below(FAULTS.length)], later[below(later.length)]];
    const ranks = 2 + below(MOST_RANKS - 1);
    return {
      ...{ number, fault, moment, ranks },
      timeout: timeout ?? (goesOn({ fault }) ? TIMEOUTS.goesOn : TIMEOUTS.givesUp),
      rank: share() < 0.4 ? 0 : below(ranks),
      resumedBy: share() < 0.5 ? ranks : 1 + below(MOST_RANKS),
      at: share(),
      delayMs: share() * DELAY_MS,
      outSeconds: 1 + 2 * share(),
      lossPercent: 1 + 9 * share(),
    };
  });
}
