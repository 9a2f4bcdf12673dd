/** A session with its inputs and outputs fixed to tensors. */
import type { IoBinding, RunConfiguration, Session } from "../../ffi/mod.ts";
import { UsageError } from "../errors.ts";
import { attempt, attemptAsync } from "./failure.ts";
import type { OrtTensor } from "./ort_tensor.ts";
import type { Recorder } from "./recorded_runs.ts";
import type { BoundRun, BoundRunOptions, DeviceTensor } from "./runner.ts";

/** The parts of a compiled graph that a bound run needs. */
export interface BoundGraph {
  readonly session: Session;
  readonly label: string;
  readonly inputNames: readonly string[];
  /** Whether bound values must be copied to a device with its own memory. */
  readonly copiesInputs: boolean;
  /** Present if runs can be recorded. */
  readonly recorder: Recorder | undefined;
  /** @throws if a tensor cannot be used for `name` */
  tensorOf(tensor: DeviceTensor, name: string): OrtTensor;
  /** Wraps runs that may take minutes. */
  around<T>(work: () => Promise<T>): Promise<T>;
  /** Called after each run. */
  ran(): void;
}

export class OrtBoundRun implements BoundRun {
  readonly #graph: BoundGraph;
  readonly #binding: IoBinding;
  readonly #inputs: OrtTensor[];
  /** Recording of the current bindings. */
  #recording: RunConfiguration | undefined;

  /** @param inputs in the order of the graph's inputs */
  constructor(
    graph: BoundGraph,
    inputs: readonly OrtTensor[],
    outputs: ReadonlyMap<string, OrtTensor>,
  ) {
    this.#graph = graph;
    this.#inputs = [...inputs];
    const { inputNames, label, session } = graph;
    const binding = this.#binding = session.bind();
    try {
      attempt(`Cannot bind "${label}"`, () => {
        inputNames.forEach((name, i) => binding.input(name, inputs[i].value));
        for (const [name, { value }] of outputs) binding.output(name, value);
      });
    } catch (error) {
      binding[Symbol.dispose]();
      throw error;
    }
  }

  feed(name: string, tensor: DeviceTensor): void {
    const { inputNames, label } = this.#graph;
    const index = inputNames.indexOf(name);
    if (index < 0) {
      throw new UsageError(
        `Cannot feed "${name}" to "${label}": its inputs are ${inputNames.join(", ")}`,
      );
    }
    const fed = this.#inputs[index] = this.#graph.tensorOf(tensor, name);
    attempt(`Cannot bind "${label}"`, () => this.#binding.input(name, fed.value));
    this.#forget();
  }

  run({ brief, recorded = false }: BoundRunOptions = {}): Promise<void> {
    const { label, session, copiesInputs, recorder } = this.#graph;
    return attemptAsync(`Cannot run "${label}"`, async () => {
      if (copiesInputs) this.#copyInputs();
      const configuration = recorded
        ? this.#recording ??= recorder?.recording()
        : recorder?.unrecorded;
      const options = { brief, synchronize: copiesInputs, configuration };
      await this.#graph.around(() => session.runWithBinding(this.#binding, options));
      this.#graph.ran();
    });
  }

  [Symbol.dispose](): void {
    this.#forget();
    this.#binding[Symbol.dispose]();
  }

  /** Copies inputs that were written in host memory since; disposed ones cannot have been written. */
  #copyInputs(): void {
    this.#inputs.forEach(({ value, onDevice }, i) => {
      if (!onDevice && !value.disposed) this.#binding.input(this.#graph.inputNames[i], value);
    });
    this.#binding.synchronizeInputs();
  }

  /** Drops the recording; the next run starts another one. */
  #forget(): void {
    this.#recording?.[Symbol.dispose]();
    this.#recording = undefined;
  }
}
