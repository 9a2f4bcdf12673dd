/** Opens the tracer that the environment asks for; loads OpenTelemetry only then. */
import type { Tracing } from "./tracing.ts";
import { traceSettings, type Variable } from "./trace_settings.ts";

/**
 * @param onNote told what the operator should know
 * @returns `undefined` if the environment names no collector
 */
export async function openTracing(
  onNote: (line: string) => void,
  variable: Variable = (name) => Deno.env.get(name),
): Promise<Tracing | undefined> {
  const settings = traceSettings(variable, onNote);
  if (settings === undefined) return undefined;
  const { RequestTracer } = await import("./request_tracer.ts");
  return new RequestTracer(settings, onNote);
}
