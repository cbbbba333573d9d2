import type { NodeRun } from './cluster.ts'

/**
 * Keeps runs of nodes that are over out of the storage that all share, whatever they still believe: one
 * that is cut off from the others, but not from the storage, or that has slept.
 */
export interface Fences {
  /** The greatest epoch of a node that was shut out; 0 if none was. */
  lastOf(node: string): Promise<number>
  /**
   * This run uses the storage from here on. `onShutOut` is called when it finds that it was shut out: it has
   * been given up, and nothing of it is stored any more.
   */
  enter(run: NodeRun, onShutOut: () => void): Promise<void>
  /** Resolves when all that was written is stored; nobody need shut this run out any more. */
  leave(): Promise<void>
  /**
   * Shuts a run out, for good. Resolves when what it has stored is all that it ever will have; rejects
   * with a `StorageError` if that is not known.
   */
  shutOut(run: NodeRun): Promise<void>
}

/** The others have given this run up. */
export class ShutOut extends Error {
  override readonly name = 'ShutOut'

  constructor({ node, epoch }: NodeRun) {
    super(`the run ${epoch} of the node ${node} was given up`)
  }
}
