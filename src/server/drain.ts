import { isLocalSession } from '../core/session.ts'
import type { Server } from '../server.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import { nodeOf, type Worker } from './cluster.ts'

declare module '../core/cluster.ts' {
  interface Topics {
    /** A worker is to send its clients elsewhere: where, if that is known. */
    worker_drain: { readonly question: { readonly to: string | null }; readonly answer: Drained }
  }
}

export type DrainOptions = {
  /** A host, with a port if it is not the usual one. */
  readonly to?: string | undefined
  /** The account, as text, whose sessions go last. */
  readonly spare?: string
  readonly onProgress: (done: number, total: number) => void
}

/** How many sessions there were, and how many of them may be resumed elsewhere. */
export type Drained = { readonly sessions: number; readonly resumable: number }

type Parts = {
  /** Which of several processes of the server this is. */
  readonly worker: Worker | undefined
  /** Nothing new is accepted any more. */
  readonly stopListening: () => void
  /** Changes of the server are made one after the other. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>
}

/** Sessions that are sent elsewhere together. */
const AT_ONCE = 100
/** For how long the sessions of whoever asked for that stay, milliseconds. */
const SPARED_FOR = 1_000

/**
 * Sends all clients and components elsewhere: to a host (RFC 6120 §4.9.3.19), or wherever they find
 * another node. Those with stream management lose nothing, and resume there. What is on its way goes on.
 */
export class Drain {
  readonly #server: Server
  readonly #parts: Parts
  hasBegun = false

  constructor(server: Server, parts: Parts) {
    this.#server = server
    this.#parts = parts
    server.cluster.on('worker_drain', ({ to }) =>
      this.#here({ ...(to !== null && { to }), onProgress() {} }),
    )
  }

  /** At all workers. */
  async run(options: DrainOptions): Promise<Drained> {
    const { worker } = this.#parts
    const { cluster, config } = this.#server
    const sum = await this.#here(options)
    const question = { to: options.to ?? null }
    const others = (worker?.names ?? []).filter((name) => name !== worker?.name)
    const answers = await Promise.all(
      others.map((name) => cluster.ask(nodeOf(config, name), 'worker_drain', question)),
    )
    return answers.reduce(
      (all, { sessions, resumable }) => ({
        sessions: all.sessions + sessions,
        resumable: all.resumable + resumable,
      }),
      sum,
    )
  }

  #here({ to, spare, onProgress }: DrainOptions): Promise<Drained> {
    const { inTurn, stopListening } = this.#parts
    const { cluster, sessionManager, components } = this.#server
    return inTurn(async () => {
      this.hasBegun = true
      stopListening()
      await cluster.drain()
      const error = new StreamError(to === undefined ? 'system-shutdown' : 'see-other-host', to)
      const all = [...sessionManager.sessions.values()].filter(isLocalSession)
      const sessions = all.filter(({ jid }) => jid.bare !== spare)
      const last = all.filter(({ jid }) => jid.bare === spare)
      setTimeout(() => {
        for (const session of last) void session.close(error)
      }, SPARED_FOR).unref()
      let resumable = 0
      for (let i = 0; i < sessions.length; i += AT_ONCE) {
        const some = sessions.slice(i, i + AT_ONCE)
        await Promise.all(some.map((session) => session.close(error)))
        resumable += some.filter(({ isClosed }) => !isClosed).length
        onProgress(i + some.length, sessions.length)
      }
      for (const component of components.connections) {
        if (component.isLocal) await component.close(new StreamError('system-shutdown'))
      }
      return { sessions: sessions.length, resumable }
    })
  }
}
