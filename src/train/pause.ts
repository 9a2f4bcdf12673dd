/** When training must wait: the machine is hot or low on battery, or it is outside the set hours. */
import { type Message, ParameterError } from "../errors.ts";
import { batteries, type Battery, type Temperature, temperatures } from "../system/sensors.ts";

/** Asked before each step whether it may be taken. */
export interface Gate {
  /**
   * Why no step may be taken now, a clause for a sentence; `undefined` if one may.
   *
   * @param waiting whether it was closed when last asked: it opens at a distance from where it
   *   closed, so that it does not flutter
   */
  closedBy(waiting: boolean): Message | undefined;
}

/** Degrees below the limit at which training goes on. */
const COOLING = 5;
/** Per cent above the limit at which training goes on, unless the battery is charged. */
const RECHARGE = 5;

/** Closed above a temperature of any sensor, until all are {@linkcode COOLING} degrees below it. */
export function temperatureGate(
  maxCelsius: number,
  read: () => readonly Temperature[] = temperatures,
): Gate {
  if (read().length === 0) {
    throw new ParameterError(
      "maxTemperature",
      (name) =>
        `${name("maxTemperature")} needs a temperature sensor, and this machine shows none in ` +
        `/sys/class/thermal: leave ${name("maxTemperature", maxCelsius)} out`,
    );
  }
  return {
    closedBy(waiting) {
      const limit = waiting ? maxCelsius - COOLING : maxCelsius;
      const hot = read().filter(({ celsius }) => celsius > limit)
        .toSorted((a, b) => b.celsius - a.celsius)[0];
      if (hot === undefined) return undefined;
      const found = `${hot.name} is at ${hot.celsius.toFixed(1)} °C`;
      return (name) => `${found}, ${name("maxTemperature")} is ${maxCelsius}`;
    },
  };
}

/** Closed while a battery that is discharging holds less than `minPercent`. */
export function batteryGate(
  minPercent: number,
  read: () => readonly Battery[] = batteries,
): Gate {
  return {
    closedBy(waiting) {
      const limit = waiting ? Math.min(100, minPercent + RECHARGE) : minPercent;
      const low = read().find(({ percent, discharging }) => discharging && percent < limit);
      if (low === undefined) return undefined;
      const found = `battery ${low.name} holds ${low.percent}% and discharges`;
      return (name) => `${found}, ${name("minBattery")} is ${minPercent}`;
    },
  };
}

/** Minutes of a day. */
interface Window {
  readonly from: number;
  readonly to: number;
}

const DAY = 24 * 60;

/**
 * Open between two times of the day, such as `01:00-05:00` or, over midnight, `22:00-06:00`.
 *
 * @param now local time; for tests
 * @throws {ParameterError} if the text is not such a window
 */
export function windowGate(text: string, now: () => Date = () => new Date()): Gate {
  const { from, to } = parseWindow(text);
  return {
    closedBy() {
      const time = now();
      const minute = time.getHours() * 60 + time.getMinutes();
      const open = (minute - from + DAY) % DAY < (to - from + DAY) % DAY;
      return open ? undefined : (name) => `it is outside of ${name("window", text)}`;
    },
  };
}

function parseWindow(text: string): Window {
  const match = /^(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})$/.exec(text);
  const [fromHour, fromMinute, toHour, toMinute] = match?.slice(1).map(Number) ?? [];
  const valid = match !== null && fromHour < 24 && toHour <= 24 && fromMinute < 60 &&
    toMinute < 60;
  const [from, to] = [fromHour * 60 + fromMinute, toHour * 60 + toMinute];
  if (!valid || to > DAY || from === to % DAY) {
    throw new ParameterError(
      "window",
      (name) =>
        `${name("window")} must be two times of the day such as 01:00-05:00: current value is ` +
        `"${text}"`,
    );
  }
  return { from, to: to % DAY };
}

/** Closed while any of several is. */
export function allOpen(gates: readonly Gate[]): Gate {
  return {
    closedBy(waiting) {
      for (const gate of gates) {
        const reason = gate.closedBy(waiting);
        if (reason !== undefined) return reason;
      }
      return undefined;
    },
  };
}

/** A gate that reads its sensors at most once in `ms`: steps can be far shorter. */
export function askedEvery(ms: number, gate: Gate): Gate {
  let [at, last]: [number, Message | undefined] = [-Infinity, undefined];
  return {
    closedBy(waiting) {
      if (performance.now() - at >= ms) {
        at = performance.now();
        last = gate.closedBy(waiting);
      }
      return last;
    },
  };
}
