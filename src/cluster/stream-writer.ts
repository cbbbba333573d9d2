import {
  createInbox,
  headers,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
} from '@nats-io/transport-node'

/** JetStream's answer: where in the stream it is, or why it is not. */
type Answer = {
  readonly seq?: number
  readonly error?: { readonly err_code?: number; readonly description?: string }
}

type Pending = {
  readonly until: number
  readonly resolve: (sequence: number) => void
  readonly reject: (error: Error) => void
}

type Outgoing = {
  readonly subject: string
  readonly value: string
  readonly headers: MsgHdrs
  /** The last part of the subject that is answered to. */
  readonly token: string
}

type WriteOptions = {
  /** Repetitions have the same: it is written once. */
  readonly id?: string
  /** The sequence number that the subject's last message must have; 0: there must be none. */
  readonly expected?: number
  /** What a key-value store is to take it for, if not for a value. */
  readonly operation?: 'DEL' | undefined
}

const ID = 'Nats-Msg-Id'
const EXPECTED = 'Nats-Expected-Last-Subject-Sequence'
export const OPERATION = 'KV-Operation'
/** `wrong last sequence` */
const WRONG_SEQUENCE = 10071
/** How exactly time-outs are kept, milliseconds. */
const LOOK = 100

/** The subject's last message is another one than was expected. */
export class WrongSequence extends Error {
  override readonly name = 'WrongSequence'
}

/**
 * Writes to a stream of JetStream, each of which it answers.
 *
 * One inbox and one timer serve all of them, and what is written in one turn of the event loop leaves in one
 * write to the socket. `publish` of the client library makes a timer, a race of promises and an error with its
 * stack for each, which cost more than all the rest, and its connection writes whenever it has something.
 */
export class StreamWriter {
  readonly #connection: NatsConnection
  readonly #inbox = createInbox()
  /** By the last part of the subject that is answered to. */
  readonly #pending = new Map<string, Pending>()
  #outgoing: Outgoing[] = []
  #timer: NodeJS.Timeout | undefined
  #last = 0

  constructor(connection: NatsConnection) {
    this.#connection = connection
    connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#onAnswer(message)
      },
    })
  }

  /**
   * Resolves to the sequence number. Rejects with `WrongSequence`, or with anything else when it is not
   * known whether it was written. `timeout`: milliseconds.
   */
  write(
    subject: string,
    value: string,
    timeout: number,
    options: WriteOptions = {},
  ): Promise<number> {
    const described = headers()
    if (options.id !== undefined) described.set(ID, options.id)
    if (options.expected !== undefined) described.set(EXPECTED, String(options.expected))
    if (options.operation !== undefined) described.set(OPERATION, options.operation)
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const token = String(++this.#last)
    this.#pending.set(token, { until: performance.now() + timeout, resolve, reject })
    this.#watchOver()
    if (this.#outgoing.length === 0) setImmediate(() => this.#flush())
    this.#outgoing.push({ subject, value, headers: described, token })
    return promise
  }

  #flush(): void {
    const outgoing = this.#outgoing
    this.#outgoing = []
    for (const { subject, value, headers, token } of outgoing) {
      try {
        this.#connection.publish(subject, value, { reply: `${this.#inbox}.${token}`, headers })
      } catch (error) {
        this.#pending.get(token)?.reject(error as Error)
        this.#pending.delete(token)
      }
    }
  }

  close(): void {
    this.#flush()
    clearTimeout(this.#timer)
    this.#fail(new Error('the connection to NATS is closed'), Number.POSITIVE_INFINITY)
  }

  #onAnswer(message: Msg): void {
    const token = message.subject.slice(this.#inbox.length + 1)
    const pending = this.#pending.get(token)
    if (pending === undefined) return
    this.#pending.delete(token)
    if (message.data.length === 0) return pending.reject(new Error('JetStream is not there'))
    const { seq, error } = message.json<Answer>()
    if (error?.err_code === WRONG_SEQUENCE)
      return pending.reject(new WrongSequence(error.description))
    if (error !== undefined || seq === undefined) {
      return pending.reject(new Error(`JetStream: ${error?.description ?? 'no answer to a write'}`))
    }
    pending.resolve(seq)
  }

  #watchOver(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#fail(new Error('JetStream does not answer'), performance.now())
      if (this.#pending.size > 0) this.#watchOver()
    }, LOOK).unref()
  }

  #fail(error: Error, now: number): void {
    for (const [token, { until, reject }] of this.#pending) {
      if (until > now) continue
      this.#pending.delete(token)
      reject(error)
    }
  }
}
