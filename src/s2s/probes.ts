import { randomUUID } from 'node:crypto'

/**
 * Keys of dialback that a server is asked about on one stream to learn how far it has read (XEP-0220
 * §2.2.2). It answers in the order of the stream, or not at all.
 */
export class Probes {
  /** By the id in the question, oldest first. */
  readonly #open = new Map<string, () => void>()

  /** Questions that may be answered still. */
  get size(): number {
    return this.#open.size
  }

  /** The id of a question whose answer is told to `onAnswer`. */
  begin(onAnswer: () => void): string {
    const id = randomUUID()
    this.#open.set(id, onAnswer)
    return id
  }

  /** False: nobody here has asked that. No answer comes any more to what was asked before. */
  answered(id: string): boolean {
    const onAnswer = this.#open.get(id)
    if (onAnswer === undefined) return false
    for (const asked of this.#open.keys()) {
      this.#open.delete(asked)
      if (asked === id) break
    }
    onAnswer()
    return true
  }

  /** The stream is over. */
  forget(): void {
    this.#open.clear()
  }
}
