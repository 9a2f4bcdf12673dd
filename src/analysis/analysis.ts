/** The result of an analysis, as `report.json` has it. */
import type { UpdateComparison } from "./compare_updates.ts";

/** Singular values of a matrix. */
export interface Spectrum {
  /** Singular values above float32's rounding errors. */
  readonly rank: number;
  /** All singular values, descending. */
  readonly singularValues: readonly number[];
}

/** Norms of W in the top r directions of three matrices (table 7 of the LoRA paper). */
export interface Directions {
  /** r: the numerical rank of ΔW. */
  readonly count: number;
  /** ‖UᵀWVᵀ‖_F with ΔW's own singular vectors. */
  readonly ofUpdate: number;
  /** With W's; null where W's singular values were not computed. */
  readonly ofWeight: number | null;
  /** With random ones. */
  readonly ofRandom: number;
  /** ‖ΔW‖_F / ‖UᵀWVᵀ‖_F with ΔW's vectors; null if W has nothing in these directions. */
  readonly amplification: number | null;
}

/** One adapter's update of a matrix. */
export interface UpdateAnalysis {
  /** Rows of A. */
  readonly rank: number;
  /** Factor of B·A. */
  readonly scale: number;
  /** ‖ΔW‖_F. */
  readonly norm: number;
  /** ‖ΔW‖_F / ‖W‖_F. */
  readonly drift: number;
  /** Of ΔW; as many singular values as A has rows. */
  readonly spectrum: Spectrum;
  /** Of W' = W + ΔW; null where it was not computed. */
  readonly merged: (Spectrum & { readonly norm: number }) | null;
  /** Null for an update of zero. */
  readonly directions: Directions | null;
}

/** Two adapters' updates of a matrix. */
export interface PairAnalysis extends UpdateComparison {
  /** φ(i, j) of the right singular vectors of A₁ and A₂: directions of the inputs. */
  readonly inputs: readonly (readonly number[])[];
  /** φ(i, j) of the left singular vectors of B₁ and B₂: directions of the outputs. */
  readonly outputs: readonly (readonly number[])[];
}

/** One adapted matrix. */
export interface MatrixAnalysis {
  /** Path of the module. */
  readonly path: string;
  /** Number of its layer; null outside the layers. */
  readonly layer: number | null;
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly cols: number;
  /** ‖W‖_F. */
  readonly norm: number;
  /** Of W; null where it was not computed. */
  readonly spectrum: Spectrum | null;
  /** One for each adapter, in their order; null where an adapter leaves the matrix as it is. */
  readonly updates: readonly (UpdateAnalysis | null)[];
  /** Where two adapters change the matrix. */
  readonly pair: PairAnalysis | null;
}

/** ‖ΔW‖/‖W‖ of all analysed matrices of a layer together. */
export interface LayerDrift {
  /** Null for the matrices outside the layers. */
  readonly layer: number | null;
  /** One for each adapter. */
  readonly drift: readonly number[];
}

/** Drift of an adapter at a checkpoint of its training. */
export interface StepDrift {
  /** Updates by the optimiser. */
  readonly step: number;
  /** ‖ΔW‖/‖W‖ over all analysed matrices. */
  readonly drift: number;
  /** The same of each layer, in the order of the analysis's layers. */
  readonly layers: readonly number[];
}

/** An adapter of an analysis. */
export interface AnalysedAdapter {
  /** Path or name, as it was given. */
  readonly path: string;
  /** Rank where no pattern says another. */
  readonly rank: number;
  /** Drift over the training's checkpoints, in their order; empty if there are none. */
  readonly steps: readonly StepDrift[];
}

/** All figures of an analysis. */
export interface Analysis {
  /** Path of the model. */
  readonly model: string;
  /** One or two. */
  readonly adapters: readonly AnalysedAdapter[];
  /** Those that an adapter changes, in the graph's order. */
  readonly matrices: readonly MatrixAnalysis[];
  /** Those with analysed matrices. */
  readonly layers: readonly LayerDrift[];
}
