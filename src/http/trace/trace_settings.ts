/**
 * Where traces go, as OpenTelemetry's variables of the environment say.
 *
 * Source: OpenTelemetry specification 1.50, "Environment Variable Specification" and "OpenTelemetry
 * Protocol Exporter".
 */

const SAMPLERS = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;
export type SamplerName = typeof SAMPLERS[number];

const PROTOCOLS = ["http/protobuf", "http/json"] as const;

export interface TraceSettings {
  readonly endpoint: URL;
  readonly protocol: typeof PROTOCOLS[number];
  readonly headers: Readonly<Record<string, string>>;
  readonly gzip: boolean;
  /** Milliseconds that one batch may take, with its repetitions. */
  readonly timeoutMs: number;
  readonly sampler: SamplerName;
  /** Share of traces to keep, where the sampler has one. */
  readonly ratio: number;
  /** Milliseconds between two batches. */
  readonly delayMs: number;
  /** Spans that may wait to be sent; further ones are dropped. */
  readonly mostWaiting: number;
  readonly mostInBatch: number;
}

/** Reads a variable of the environment. */
export type Variable = (name: string) => string | undefined;

/**
 * The settings of the environment.
 *
 * @param onNote told of values that cannot be used; the specification wants a default then, not an error
 * @returns `undefined` if it names no collector, or traces are switched off
 */
export function traceSettings(
  variable: Variable,
  onNote: (line: string) => void,
): TraceSettings | undefined {
  // An empty value is the same as none.
  const read = (name: string) => variable(name)?.trim() || undefined;
  const ofTraces = (name: string) =>
    read(`OTEL_EXPORTER_OTLP_TRACES_${name}`) ?? read(`OTEL_EXPORTER_OTLP_${name}`);
  if (ofTraces("ENDPOINT") === undefined) return undefined;
  if (read("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return undefined;
  const exporter = read("OTEL_TRACES_EXPORTER") ?? "otlp";
  if (exporter === "none") return undefined;
  const off = (why: string) => void onNote(`No traces are sent: ${why}`);
  if (exporter !== "otlp") return off(`OTEL_TRACES_EXPORTER must be otlp or none: is ${exporter}`);
  const protocol = ofTraces("PROTOCOL") ?? PROTOCOLS[0];
  if (!isOneOf(PROTOCOLS, protocol)) {
    return off(`OTEL_EXPORTER_OTLP_PROTOCOL must be ${PROTOCOLS.join(" or ")}: is ${protocol}`);
  }
  const endpoint = endpointOf(read);
  if (endpoint === undefined) return off("the endpoint is no address that begins with http");
  const whole = (name: string, otherwise: number, least: number) => {
    const text = read(name);
    if (text === undefined) return otherwise;
    const value = Number(text);
    if (Number.isInteger(value) && value >= least && value < 2 ** 31) return value;
    onNote(`${name} must be a whole number >= ${least}: is ${text}; ${otherwise} is used`);
    return otherwise;
  };
  const mostWaiting = whole("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1);
  return {
    endpoint,
    protocol,
    headers: headersOf(ofTraces("HEADERS") ?? "", onNote),
    gzip: ofTraces("COMPRESSION") === "gzip",
    timeoutMs: whole(
      "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
      whole("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000, 1),
      1,
    ),
    ...samplerOf(read, onNote),
    delayMs: whole("OTEL_BSP_SCHEDULE_DELAY", 5000, 0),
    mostWaiting,
    mostInBatch: Math.min(whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1), mostWaiting),
  };
}

/** The address of traces as it is, or that of all signals with the path of traces. */
function endpointOf(read: Variable): URL | undefined {
  const own = read("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
  const common = read("OTEL_EXPORTER_OTLP_ENDPOINT");
  const url = URL.parse(own ?? `${common?.replace(/\/+$/, "")}/v1/traces`);
  return url !== null && /^https?:$/.test(url.protocol) ? url : undefined;
}

/** `name=value,…`, values percent-encoded. */
function headersOf(text: string, onNote: (line: string) => void): Record<string, string> {
  const headers = new Headers();
  for (const pair of text.split(",").filter((pair) => pair.trim() !== "")) {
    const at = pair.indexOf("=");
    try {
      if (at < 1) throw new TypeError("no =");
      const [name, value] = [pair.slice(0, at), pair.slice(at + 1)].map((part) =>
        decodeURIComponent(part.trim())
      );
      headers.set(name, value);
    } catch {
      // It may be a secret.
      onNote("OTEL_EXPORTER_OTLP_HEADERS has a part that is not NAME=VALUE; it is not sent");
    }
  }
  return Object.fromEntries(headers);
}

function samplerOf(
  read: Variable,
  onNote: (line: string) => void,
): Pick<TraceSettings, "sampler" | "ratio"> {
  const usual = { sampler: "parentbased_always_on", ratio: 1 } as const;
  const sampler = read("OTEL_TRACES_SAMPLER") ?? usual.sampler;
  if (!isOneOf(SAMPLERS, sampler)) {
    onNote(`OTEL_TRACES_SAMPLER must be one of ${SAMPLERS.join(", ")}: is ${sampler}`);
    return usual;
  }
  const text = read("OTEL_TRACES_SAMPLER_ARG") ?? "1";
  const ratio = Number(text);
  if (ratio >= 0 && ratio <= 1) return { sampler, ratio };
  onNote(`OTEL_TRACES_SAMPLER_ARG must be between 0 and 1: is ${text}; 1 is used`);
  return { sampler, ratio: 1 };
}

function isOneOf<T extends string>(list: readonly T[], value: string): value is T {
  return (list as readonly string[]).includes(value);
}
