import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { chunkBegins, chunkEnds } from '../core/chunk-time.ts'
import type { Logger } from '../core/log.ts'
import { NO_OCTETS, type Octets } from '../xmpp/octets.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import {
  type Frame,
  type ParserLimits,
  type StreamHandler,
  XmlStreamParser,
} from '../xmpp/xml-parser.ts'
import type { Shaper } from './shaper.ts'
import type { Turn } from './turn.ts'

/** Who speaks on a connection: the negotiation of its stream first, then its session. */
export interface ConnectionHandler extends StreamHandler {
  /** The peer broke the rules, or we failed; the handler closes the stream with this error. */
  onStreamError(error: StreamError): void
  /** What this turn has produced is about to leave; more may be written. */
  onFlush(): void
  /** Output is wanted again after it was blocked. */
  onDrain(): void
  /** The socket is gone. Called once. */
  onClosed(error: Error | undefined): void
}

/** Where a connection is, with many others: one object for all of them. */
export type ConnectionHost = {
  readonly turn: Turn
  readonly log: Logger
  /** The socket is gone, and whoever speaks knows. */
  readonly onClosed?: (connection: Connection) => void
}

type ConnectionOptions = {
  readonly socket: Socket
  readonly host: ConnectionHost
  readonly limits: ParserLimits
  readonly shaper: Shaper | undefined
}

/** How long a peer may take to close its side, in milliseconds. */
const LINGER = 5_000
/** More output than this in one turn is written at once, to learn whether the peer reads it. */
const FLUSH_AT = 256 * 1024
/** Output that waits while the peer reads nothing, in octets; whoever lets it grow over is cut off. */
const MAX_WAITING = 1024 * 1024

const ignore = () => {}

/** Whose a socket is: a property takes less than the closures that would know it. */
const CONNECTION = Symbol('connection')
type Owned = (Socket | TLSSocket) & { [CONNECTION]?: Connection }

const PROCESSING = 1
const SHAPING = 2
const WAITING = 4

/**
 * One socket of a client, with or without TLS: octets in through the parser, octets out in one
 * write per turn of the event loop.
 *
 * Output that the kernel does not take blocks the connection; whoever writes stanzas looks at
 * `isBlocked` and keeps them until `onDrain`.
 */
export class Connection implements StreamHandler {
  readonly address: string
  readonly #parser: XmlStreamParser
  readonly #host: ConnectionHost
  readonly #shaper: Shaper | undefined
  handler: ConnectionHandler
  #socket: Socket | TLSSocket
  #out = ''
  #isQueued = false
  #paused = 0
  /** Of `waitFor`, not done yet. */
  #works = 0
  /** Our last word is said; the peer may still be speaking. */
  #isSilent = false
  /** What was said last without TLS is said; nothing more is until TLS has begun. */
  #isBetween = false
  #hasPeerClosed = false
  #isEnding = false
  #isClosed = false
  #lingering: NodeJS.Timeout | undefined
  #flushed: (() => void)[] | undefined
  /** Since when the kernel has taken nothing, milliseconds since the epoch; 0 while it does. */
  blockedSince = 0
  /** Octets received. */
  received = 0

  constructor(options: ConnectionOptions, handler: (connection: Connection) => ConnectionHandler) {
    this.#socket = options.socket
    this.#host = options.host
    this.#shaper = options.shaper
    this.address = options.socket.remoteAddress ?? ''
    this.#parser = new XmlStreamParser(this, options.limits)
    this.handler = handler(this)
    this.#listen(options.socket)
  }

  // --- In.

  onStreamStart(header: Frame): void {
    this.handler.onStreamStart(header)
  }

  onElement(frame: Frame): void {
    if (!this.#isEnding) this.handler.onElement(frame)
  }

  onStreamEnd(): void {
    this.#hasPeerClosed = true
    if (!this.#isEnding) this.handler.onStreamEnd()
    if (this.#isSilent) this.end(NO_OCTETS)
  }

  /** Takes nothing more from the client until `work` is done; its later stanzas wait their turn. */
  async waitFor(work: Promise<unknown>): Promise<void> {
    this.#works++
    this.#pause(PROCESSING)
    try {
      await work
    } catch (error) {
      this.#fail(error)
    }
    if (--this.#works === 0) this.#resume(PROCESSING)
  }

  /** A new stream begins on this connection (after SASL). */
  restart(limits: ParserLimits): void {
    this.#parser.limits = limits
    this.#parser.reset()
  }

  set limits(limits: ParserLimits) {
    this.#parser.limits = limits
  }

  // --- Out.

  /** Whether what is written now would wait, or be lost. */
  get isBlocked(): boolean {
    return this.blockedSince !== 0 || this.#isSilent || this.#isEnding
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  write(octets: Octets): void {
    if (this.#isSilent || this.#isEnding) return
    this.#out += octets
    this.#host.turn.written += octets.length
    if (this.blockedSince !== 0) {
      if (this.#out.length > MAX_WAITING) this.#fail(new StreamError('resource-constraint'))
    } else if (!this.#isQueued) {
      this.#isQueued = true
      this.#host.turn.add(this)
    } else if (this.#out.length > FLUSH_AT) this.#push()
  }

  /** Called when the kernel has taken all that was written so far; never, if the connection dies. */
  onceFlushed(then: () => void): void {
    this.#flushed ??= []
    this.#flushed.push(then)
  }

  /** Hands the kernel what has been written this turn, unless it took the last in part only. */
  flush(): void {
    try {
      if (!this.#isSilent && !this.#isEnding) this.handler.onFlush()
    } catch (error) {
      this.#fail(error)
    }
    this.#isQueued = false
    if (this.blockedSince === 0) this.#push()
  }

  #push(): void {
    // Whoever waits may do so for what has left within this turn: an empty write comes after it.
    if ((this.#out === '' && this.#flushed === undefined) || this.#isClosed) return
    if (this.#isBetween) return
    const out = this.#out
    this.#out = ''
    const waiting = this.#flushed
    let isTaken: boolean
    if (waiting === undefined) isTaken = this.#socket.write(out, 'latin1')
    else {
      this.#flushed = undefined
      isTaken = this.#socket.write(out, 'latin1', (error) => {
        if (!error) for (const then of waiting) then()
      })
    }
    if (isTaken || this.blockedSince !== 0) return
    this.blockedSince = Date.now()
    this.#socket.once('drain', () => {
      this.blockedSince = 0
      this.#push()
      if (!this.isBlocked) this.handler.onDrain()
    })
  }

  /**
   * Says a last word, and hears the peer out: what it sends until it closes its side goes to the handler
   * as before (RFC 6120 §4.4). It has a moment for that.
   */
  close(last: Octets): void {
    if (this.#hasPeerClosed || this.#isBeforeTls) return this.end(last)
    if (this.#isSilent || this.#isEnding) return
    this.#isSilent = true
    this.#out += last
    this.#push()
    this.#linger()
  }

  /** Says a last word and closes; nothing more is taken. The peer gets a moment to close its side. */
  end(last: Octets): void {
    if (this.#isEnding) return
    this.#isEnding = true
    const socket = this.#socket
    if (this.#isBeforeTls) {
      socket.destroy()
      return
    }
    if (!this.#isSilent) this.#out += last
    this.#push()
    socket.end()
    // A paused socket would never see the peer's end.
    socket.resume()
    this.#linger()
  }

  /** There is no channel yet to say anything on. */
  get #isBeforeTls(): boolean {
    if (this.#isBetween) return true
    return this.#socket instanceof TLSSocket && this.#socket.getFinished() === undefined
  }

  #linger(): void {
    if (this.#lingering !== undefined) return
    this.#lingering = setTimeout(() => this.#socket.destroy(), LINGER).unref()
  }

  /** Without a word. */
  destroy(): void {
    this.#isEnding = true
    this.#socket.destroy()
  }

  // --- TLS.

  get socket(): Socket | TLSSocket {
    return this.#socket
  }

  /**
   * Goes on over TLS. What the client sent before the handshake is thrown away: it was not
   * encrypted, and might be another's (RFC 6120 §5.4.3.3).
   */
  secure(last: Octets, upgrade: (socket: Socket) => TLSSocket): void {
    this.#cease(last)
    this.#upgrade(upgrade)
  }

  /**
   * As `secure`, once the client has begun the handshake. Node's TLS keeps the buffer that it reads the first records
   * into: as large as what is there already, or else as what one read could bring, 64 KiB. So each connection
   * takes 8 KiB less; more than 1 KiB at a time costs a sixth more.
   */
  secureOnHello(last: Octets, upgrade: (socket: Socket) => TLSSocket): void {
    this.#cease(last)
    const plain = this.#socket
    plain.once('readable', () => {
      if (this.#isClosed || this.#isEnding) return
      // Nothing to read is the end.
      if (plain.readableLength === 0) plain.destroy()
      else this.#upgrade(upgrade)
    })
  }

  /** Says a last word without TLS, and takes nothing more without. */
  #cease(last: Octets): void {
    this.write(last)
    this.flush()
    this.#isBetween = true
    this.#socket.off('data', Connection.#onData)
    this.#parser.reset({ discard: true })
  }

  #upgrade(upgrade: (socket: Socket) => TLSSocket): void {
    const plain = this.#socket
    try {
      this.#socket = upgrade(plain)
    } catch (error) {
      // The certificate may be gone by now.
      return this.#fail(error)
    }
    plain.off('close', Connection.#onClose)
    // The raw socket's errors reach the TLS socket as well, which listens for them.
    if (plain.listenerCount('error') > 1) plain.off('error', ignore)
    // Of Node's TLS, for a socket that would not be connected yet.
    for (const listener of plain.rawListeners('connect'))
      plain.off('connect', listener as () => void)
    this.#listen(this.#socket)
    this.#isBetween = false
    this.#push()
  }

  // --- The socket.

  /** What is kept for each listener of each connection adds up. */
  #listen(socket: Owned): void {
    socket[CONNECTION] = this
    socket.on('data', Connection.#onData)
    socket.on('close', Connection.#onClose)
    // Without a listener an error ends the process; what it was is known when the socket closes. Node's TLS keeps one of
    // its own on what was accepted, and none on what it has connected.
    const isHeard = socket instanceof TLSSocket && socket.listenerCount('error') > 0
    if (!isHeard) socket.on('error', ignore)
  }

  // Called with their socket as `this`.

  static readonly #onData = function (this: Owned, chunk: Buffer): void {
    const connection = this[CONNECTION] as Connection
    connection.#receive(chunk)
  }

  static readonly #onClose = function (this: Owned): void {
    const connection = this[CONNECTION] as Connection
    connection.#closed(this.errored ?? undefined)
  }

  #receive(received: Buffer): void {
    if (this.#isEnding) return
    const share = this.#host.turn.shareOf(received.length)
    const chunk = share < received.length ? this.#firstOf(received, share) : received
    this.received += chunk.length
    chunkBegins()
    try {
      this.#parser.push(chunk)
    } catch (error) {
      this.#fail(error)
    } finally {
      chunkEnds()
    }
    this.#host.turn.relieve()
    if (this.#shaper === undefined || this.#isEnding) return
    const wait = this.#shaper.take(chunk.length)
    if (wait <= 0) return
    this.#pause(SHAPING)
    setTimeout(() => this.#resume(SHAPING), wait).unref()
  }

  /** The rest goes back to the socket until what this turn has produced has left. */
  #firstOf(received: Buffer, share: number): Buffer {
    this.#pause(WAITING)
    this.#socket.unshift(received.subarray(share))
    setImmediate(() => this.#resume(WAITING))
    return received.subarray(0, share)
  }

  #pause(why: number): void {
    if (this.#paused === 0) this.#socket.pause()
    this.#paused |= why
    if (why === PROCESSING) this.#parser.pause()
  }

  #resume(why: number): void {
    this.#paused &= ~why
    if (this.#isClosed || this.#isEnding) return
    try {
      if (why === PROCESSING) this.#parser.resume()
    } catch (error) {
      this.#fail(error)
    }
    if (this.#paused === 0) this.#socket.resume()
  }

  #fail(error: unknown): void {
    if (this.#isEnding || this.#isClosed) return
    if (error instanceof StreamError) return this.handler.onStreamError(error)
    this.#host.log.error('stream_failed', { address: this.address, error })
    this.handler.onStreamError(new StreamError('internal-server-error'))
  }

  #closed(error: Error | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#isEnding = true
    clearTimeout(this.#lingering)
    this.#out = ''
    this.handler.onClosed(error)
    this.#host.onClosed?.(this)
  }
}

/** Of a connection that nobody wants to hear of any more. */
export const NOBODY: ConnectionHandler = {
  onStreamStart() {},
  onElement() {},
  onStreamEnd() {},
  onStreamError() {},
  onFlush() {},
  onDrain() {},
  onClosed() {},
}
