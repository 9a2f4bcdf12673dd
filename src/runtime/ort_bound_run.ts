/** A session with its inputs and outputs fixed to tensors. */
import type { IoBinding, RunConfiguration, Session } from "../../ffi/mod.ts";
import { UsageError } from "../errors.ts";
import { attempt, attemptAsync } from "./failure.ts";
import type { OrtTensor } from "./ort_tensor.ts";
import type { Recorder } from "./recorded_runs.ts";
import type { BoundRun, BoundRunOptions, DeviceTensor } from "./runner.ts";

/** What a bound run needs of the graph that it runs. */
export interface BoundGraph {
  readonly session: Session;
  readonly label: string;
  readonly inputNames: readonly string[];
  /** Whether values must be copied to a device of their own when they are bound. */
  readonly copiesInputs: boolean;
  /** Where runs can be recorded. */
  readonly recorder: Recorder | undefined;
  /** @throws where a tensor cannot be used for `name` */
  tensorOf(tensor: DeviceTensor, name: string): OrtTensor;
  /** What runs are wrapped in, where they may take minutes. */
  around<T>(work: () => Promise<T>): Promise<T>;
  /** Told of each run. */
  ran(): void;
}

export class OrtBoundRun implements BoundRun {
  readonly #graph: BoundGraph;
  readonly #binding: IoBinding;
  readonly #inputs: OrtTensor[];
  /** Of what is bound now. */
  #recording: RunConfiguration | undefined;

  /** @param inputs in the order of the graph's */
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

  /** Hands over what was written to host memory since; one that was disposed of nobody can have written to. */
  #copyInputs(): void {
    this.#inputs.forEach(({ value, onDevice }, i) => {
      if (!onDevice && !value.disposed) this.#binding.input(this.#graph.inputNames[i], value);
    });
    this.#binding.synchronizeInputs();
  }

  /** What comes next is another recording. */
  #forget(): void {
    this.#recording?.[Symbol.dispose]();
    this.#recording = undefined;
  }
}
