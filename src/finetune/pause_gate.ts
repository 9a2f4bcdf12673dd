/** When a run waits, according to its configuration. */
import {
  allOpen,
  askedEvery,
  batteryGate,
  type Gate,
  temperatureGate,
  windowGate,
} from "../train/pause.ts";
import type { FineTunePauses } from "./config.ts";

/** Least milliseconds between two readings of the sensors. */
const LOOK_MS = 500;

/** @throws {ParameterError} for text that is not a window, and for a temperature if nothing measures it */
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
