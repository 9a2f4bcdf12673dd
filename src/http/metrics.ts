/** What `/metrics` counts, in Prometheus' format. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { freeBytes } from "../system/memory.ts";
import { type Temperature, temperatures } from "../system/sensors.ts";

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** What is read of the machine when figures are asked for. */
export interface MachineFigures {
  temperatures(): readonly Temperature[];
  /** Memory that programs can still have. */
  freeBytes(): number | undefined;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #requests = new Counter({
    name: "graft_requests_total",
    help: "Requests answered, by route and status",
    labelNames: ["route", "status"],
    registers: [this.#registry],
  });
  readonly #seconds = new Histogram({
    name: "graft_request_seconds",
    help: "Seconds from a request's headers to the end of its answer",
    labelNames: ["route"],
    buckets: SECONDS,
    registers: [this.#registry],
  });
  readonly #firstToken = new Histogram({
    name: "graft_time_to_first_token_seconds",
    help: "Seconds from a request to the first token of its answer",
    buckets: SECONDS,
    registers: [this.#registry],
  });
  readonly #tokens = new Counter({
    name: "graft_tokens_total",
    help: "Tokens read from prompts and texts, and generated",
    labelNames: ["kind"],
    registers: [this.#registry],
  });

  /**
   * @param inWork requests in work and waiting
   * @param residentBytes memory of the process
   */
  constructor(
    inWork: () => number,
    residentBytes: () => number,
    machine: MachineFigures = { temperatures, freeBytes },
  ) {
    const gauge = (name: string, help: string, value: () => number | undefined) =>
      new Gauge({
        name,
        help,
        registers: [this.#registry],
        collect() {
          const now = value();
          if (now !== undefined) this.set(now);
        },
      });
    gauge("graft_requests_in_work", "Requests in work and waiting", inWork);
    gauge("process_resident_memory_bytes", "Resident memory size in bytes", residentBytes);
    gauge(
      "graft_memory_available_bytes",
      "Memory that programs can still have, within the limits of this one's control group",
      () => machine.freeBytes(),
    );
    new Gauge({
      name: "graft_temperature_celsius",
      help: "Temperature of a thermal zone of the machine",
      labelNames: ["zone"],
      registers: [this.#registry],
      collect() {
        this.reset();
        // Zones of one name: the hottest.
        const coolestFirst = machine.temperatures().toSorted((a, b) => a.celsius - b.celsius);
        for (const { name, celsius } of coolestFirst) this.set({ zone: name }, celsius);
      },
    });
  }

  /** Counts an answered request. */
  request(route: string, status: number, seconds: number): void {
    this.#requests.inc({ route, status });
    this.#seconds.observe({ route }, seconds);
  }

  /** Counts the first token of an answer. */
  firstToken(seconds: number): void {
    this.#firstToken.observe(seconds);
  }

  /** Counts tokens. */
  tokens(kind: "prompt" | "generated", count: number): void {
    this.#tokens.inc({ kind }, count);
  }

  /** As Prometheus reads it. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }
}
