/** When a run waits, as its configuration says. */
import {
  allOpen,
  askedEvery,
  batteryGate,
  type Gate,
  temperatureGate,
  windowGate,
} from "../train/pause.ts";
import type { FineTunePauses } from "./config.ts";

/** Least milliseconds between two looks at the sensors. */
const LOOK_MS = 500;

/**
 * @throws {ParameterError} for a window that is none, and a temperature where nothing measures it
 */
export function pauseGate(
  { maxTemperature, minBattery, window }: FineTunePauses,
): Gate {
  const gates = [
    ...(window === undefined ? [] : [windowGate(window)]),
    ...(maxTemperature === undefined ? [] : [temperatureGate(maxTemperature)]),
    ...(minBattery === 0 ? [] : [batteryGate(minBattery)]),
  ];
  return askedEvery(LOOK_MS, allOpen(gates));
}
