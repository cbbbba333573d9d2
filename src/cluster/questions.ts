import {
  type Answer,
  ClusterError,
  type ClusterErrorKind,
  type Question,
  type Topic,
  type TopicHandler,
} from '../core/cluster.ts'
import type { Logger } from '../core/log.ts'
import { decode, encode, type Octets } from '../xmpp/octets.ts'
import type { Link } from './link.ts'

export const QUESTION = 'Q'
const ANSWER = 'A'
const REFUSAL = 'X'
export const QUESTION_ENTRIES = QUESTION + ANSWER + REFUSAL

const SEPARATOR = '\x02'

type Pending = {
  readonly link: Link
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: ClusterError) => void
}

/** What nodes ask one another, over their links, in order. */
export class Questions {
  readonly #log: Logger
  readonly #handlers = new Map<string, TopicHandler<Topic>>()
  readonly #pending = new Map<number, Pending>()
  #lastId = 0

  constructor(log: Logger) {
    this.#log = log
    this.on('ping', () => null)
  }

  on<T extends Topic>(topic: T, handler: TopicHandler<T>): () => void {
    const known = handler as unknown as TopicHandler<Topic>
    this.#handlers.set(topic, known)
    return () => {
      if (this.#handlers.get(topic) === known) this.#handlers.delete(topic)
    }
  }

  ask<T extends Topic>(link: Link, topic: T, question: Question<T>): Promise<Answer<T>> {
    const id = ++this.#lastId
    return new Promise<Answer<T>>((resolve, reject) => {
      this.#pending.set(id, { link, resolve: resolve as Pending['resolve'], reject })
      const body = encode(JSON.stringify(question))
      link.send(QUESTION + id + SEPARATOR + topic + SEPARATOR + body)
    })
  }

  /** Asks this node itself. */
  async askSelf<T extends Topic>(topic: T, question: Question<T>, self: string) {
    const handler = this.#handlers.get(topic)
    if (handler === undefined) throw new ClusterError('unknown', `nobody answers ${topic}`)
    return (await handler(question as Question<Topic>, self)) as Answer<T>
  }

  /** An entry of one of these kinds. */
  take(entry: string, link: Link): void {
    const [first = '', second = '', third = ''] = entry.slice(1).split(SEPARATOR, 3)
    if (entry[0] === QUESTION) void this.#answer(first, second, third as Octets, link)
    else this.#onAnswer(entry[0] === ANSWER, Number(first), second as Octets, third as Octets)
  }

  /** Whoever was asked over this link will not answer. */
  lose(link: Link): void {
    for (const [id, pending] of this.#pending) {
      if (pending.link !== link) continue
      this.#pending.delete(id)
      pending.reject(new ClusterError('lost', `${link.peer.node} is lost`))
    }
  }

  async #answer(id: string, topic: string, body: Octets, link: Link): Promise<void> {
    const refuse = (kind: ClusterErrorKind, text: string) =>
      void link.send(REFUSAL + id + SEPARATOR + kind + SEPARATOR + encode(text))
    const handler = this.#handlers.get(topic)
    if (handler === undefined) return refuse('unknown', `nobody answers ${topic}`)
    try {
      const answer = await handler(JSON.parse(decode(body)) as Question<Topic>, link.peer.node)
      link.send(ANSWER + id + SEPARATOR + encode(JSON.stringify(answer ?? null)))
    } catch (error) {
      this.#log.warn('cluster_question_failed', { topic, from: link.peer.node, error })
      refuse('failed', error instanceof Error ? error.message : String(error))
    }
  }

  #onAnswer(isAnswer: boolean, id: number, body: Octets, text: Octets): void {
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    this.#pending.delete(id)
    if (isAnswer) pending.resolve(JSON.parse(decode(body)))
    else pending.reject(new ClusterError(body as string as ClusterErrorKind, decode(text)))
  }
}
