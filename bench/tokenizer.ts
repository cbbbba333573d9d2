/**
 * How fast the stream parser is, by itself: `node bench/tokenizer.ts [--rounds N]`.
 *
 * The same stanzas come in pieces of several sizes. Each line gives the least and the median of the
 * rounds; times are of the processor, spent in the whole process (collecting garbage included).
 */
import { parseArgs } from 'node:util'
import { type Frame, XmlStreamParser } from '../src/xmpp/xml-parser.ts'
import { STREAM_START, stanzas } from './stanzas.ts'

const COUNT = 10_000
const PASSES = 10

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } })
const rounds = Number(values.rounds)

const all = stanzas(COUNT)
const bytes = Buffer.concat(all)

function piecesOf(size: number): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size))
  return pieces
}

const chunkings: Readonly<Record<string, readonly Buffer[]>> = {
  '1 stanza': all,
  '1.4 KB': piecesOf(1400),
  '16 KB': piecesOf(16_384),
  '64 KB': piecesOf(65_536),
}

/** Something must come of what is parsed, or less of it might be done. */
let seen = 0
const handler = {
  onStreamStart() {},
  onElement(frame: Frame) {
    seen += frame.payload.length + frame.children.length + frame.common.others.length
  },
  onStreamEnd() {},
}

/** Microseconds of processor time for each stanza. */
function measure(pieces: readonly Buffer[]): number {
  const limits = { maxStanzaSize: 262_144, maxDepth: 100, maxAttributes: 100 }
  const parser = new XmlStreamParser(handler, limits)
  parser.push(STREAM_START)
  const start = process.cpuUsage()
  for (let pass = 0; pass < PASSES; pass++) for (const piece of pieces) parser.push(piece)
  const { user, system } = process.cpuUsage(start)
  return (user + system) / (COUNT * PASSES)
}

const mean = bytes.length / COUNT
console.log(`${COUNT} stanzas of ${Math.round(mean)} bytes in the mean; ${rounds} rounds`)
for (const pieces of Object.values(chunkings)) measure(pieces)
const results = new Map<string, number[]>(Object.keys(chunkings).map((name) => [name, []]))
for (let round = 0; round < rounds; round++) {
  for (const [name, pieces] of Object.entries(chunkings)) results.get(name)?.push(measure(pieces))
}
const format = (micros: number) =>
  `${micros.toFixed(2)} µs/stanza, ${Math.round(mean / micros)
    .toString()
    .padStart(4)} MB/s`
for (const [name, times] of results) {
  times.sort((a, b) => a - b)
  const least = times[0] as number
  const median = times[times.length >> 1] as number
  console.log(`${name.padEnd(9)} min ${format(least)}   median ${format(median)}`)
}
if (seen === 0) throw new Error('nothing was parsed')
