import type { Session } from '../../core/session.ts'

/** Characters of a key that count: clients choose some, and memory is ours. */
const SIGNIFICANT = 100

/** What there is to know of the last messages of each session, by a key of theirs. */
export class Recent<T> {
  readonly #limit: number
  readonly #bySession = new WeakMap<Session, Map<string, T>>()

  /** `limit`: messages of one session. */
  constructor(limit: number) {
    this.#limit = limit
  }

  get(session: Session, key: string): T | undefined {
    return this.#bySession.get(session)?.get(significant(key))
  }

  set(session: Session, key: string, value: T): void {
    let messages = this.#bySession.get(session)
    if (messages === undefined) {
      messages = new Map()
      this.#bySession.set(session, messages)
    }
    messages.set(significant(key), value)
    if (messages.size <= this.#limit) return
    for (const oldest of messages.keys()) {
      messages.delete(oldest)
      break
    }
  }
}

function significant(key: string): string {
  return key.length <= SIGNIFICANT ? key : key.slice(-SIGNIFICANT)
}
