import type { Session } from '../../core/session.ts'
import type { ManagedStream } from './managed-stream.ts'

/** How many ended streams are remembered. */
const MAX_ENDED = 10_000

type Ended = { readonly account: string; readonly h: number }

/** The streams under management, and for a while what there is to say of those that ended. */
export class Streams {
  readonly #bySession = new Map<Session, ManagedStream>()
  readonly #byId = new Map<string, ManagedStream>()
  readonly #ended = new Map<string, Ended>()

  add(stream: ManagedStream): void {
    this.#bySession.set(stream.session, stream)
    if (stream.id !== undefined) this.#byId.set(stream.id, stream)
  }

  /** It goes on at another node, which counts on: what was handled here will soon say nothing. */
  letGo(stream: ManagedStream): void {
    this.#bySession.delete(stream.session)
    if (stream.id !== undefined) this.#byId.delete(stream.id)
  }

  of(session: Session): ManagedStream | undefined {
    return this.#bySession.get(session)
  }

  /** The one with this id, if it is the account's. */
  find(id: string, account: string): ManagedStream | undefined {
    const stream = this.#byId.get(id)
    return stream?.session.jid.bare === account ? stream : undefined
  }

  /** It can no longer be resumed. */
  remove(stream: ManagedStream): void {
    this.#bySession.delete(stream.session)
    const { id, handled, session } = stream
    if (id === undefined || !this.#byId.delete(id)) return
    this.#ended.set(id, { account: session.jid.bare, h: handled.h })
    if (this.#ended.size <= MAX_ENDED) return
    const [oldest] = this.#ended.keys()
    if (oldest !== undefined) this.#ended.delete(oldest)
  }

  /** How many stanzas of an ended stream of the account were handled, if that is known still. */
  handledBefore(id: string, account: string): number | undefined {
    const ended = this.#ended.get(id)
    return ended?.account === account ? ended.h : undefined
  }

  values(): IterableIterator<ManagedStream> {
    return this.#bySession.values()
  }
}
