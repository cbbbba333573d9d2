import type { Writable } from 'node:stream'

/** Messages on a stream of bytes, each behind its length in four bytes. */

const HEAD = 4

/** `frame`: bytes, one per character. */
export function writeFrame(stream: Writable, frame: string): void {
  const buffer = Buffer.allocUnsafe(HEAD + frame.length)
  buffer.writeUInt32BE(frame.length)
  buffer.write(frame, HEAD, 'latin1')
  stream.write(buffer)
}

/** Puts chunks together again. */
export class FrameReader {
  readonly #onFrame: (frame: string) => void
  #held: Buffer[] = []
  #size = 0

  constructor(onFrame: (frame: string) => void) {
    this.#onFrame = onFrame
  }

  push(chunk: Buffer): void {
    this.#held.push(chunk)
    this.#size += chunk.length
    if (this.#size < HEAD) return
    let data = this.#held.length === 1 ? chunk : Buffer.concat(this.#held)
    while (data.length >= HEAD) {
      const end = HEAD + data.readUInt32BE()
      if (data.length < end) break
      this.#onFrame(data.latin1Slice(HEAD, end))
      data = data.subarray(end)
    }
    this.#held = data.length === 0 ? [] : [data]
    this.#size = data.length
  }
}
