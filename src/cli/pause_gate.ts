/** The gate that the flags of `graft train` describe. */
import {
  allOpen,
  askedEvery,
  batteryGate,
  type Gate,
  temperatureGate,
  windowGate,
} from "../train/pause.ts";
import type { TrainFlags } from "./train_flags.ts";

/** Least milliseconds between two looks at the sensors. */
const LOOK_MS = 500;

/**
 * @throws {UsageError} for a window that is none, and a temperature where nothing measures it
 */
export function pauseGate(
  { maxTemperature, minBattery, window }: Pick<
    TrainFlags,
    "maxTemperature" | "minBattery" | "window"
  >,
): Gate {
  const gates = [
    ...(window === undefined ? [] : [windowGate(window)]),
    ...(maxTemperature === undefined ? [] : [temperatureGate(maxTemperature)]),
    ...(minBattery === 0 ? [] : [batteryGate(minBattery)]),
  ];
  return askedEvery(LOOK_MS, allOpen(gates));
}
