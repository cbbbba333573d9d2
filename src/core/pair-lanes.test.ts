import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseJid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { Envelope, SERVER } from './envelope.ts'
import { PairLanes } from './pair-lanes.ts'

const resources = ['x@a/1', 'x@a/2', 'y@a/1'].map(parseJid)
const resource = fc.constantFrom(...resources)
const step = fc.record({
  from: resource,
  to: resource,
  isAside: fc.boolean(),
  /** Turns that the work takes; 0: it is done at once. */
  turns: fc.constantFrom(0, 0, 1, 2, 5),
  fails: fc.boolean(),
  /** Turns until the next one is given. */
  pause: fc.constantFrom(0, 0, 1, 3),
})

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

test('in each pair of accounts nothing begins before what came earlier is done', async () => {
  const property = fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
    const lanes = new PairLanes()
    const begun: string[][] = []
    const open = new Map<string, number>()
    const results = []
    for (const [k, { from, to, isAside, turns, fails, pause }] of steps.entries()) {
      const pair = `${from.bare} ${to.bare}`
      const envelope = new Envelope(from, to, Stanza.build('message', { id: String(k) }), SERVER)
      const work = (given: Envelope) => {
        assert.equal(given, envelope)
        assert.equal(open.get(pair) ?? 0, 0, 'began while another was going on')
        begun.push([pair, String(k)])
        if (turns === 0) return undefined
        return finish()
      }
      const finish = async () => {
        if (!isAside) open.set(pair, 1)
        for (let left = turns; left > 0; left--) await turn()
        if (!isAside) open.set(pair, 0)
        if (fails) throw new Error('on purpose')
      }
      const result = isAside ? lanes.runAside(envelope, work) : lanes.run(envelope, work)
      results.push(result)
      if (result instanceof Promise) result.catch(() => {})
      for (let left = pause; left > 0; left--) await turn()
    }
    await Promise.allSettled(results)
    for (const pair of new Set(begun.map(([name]) => name))) {
      const order = begun.filter(([name]) => name === pair).map(([, k]) => Number(k))
      assert.deepEqual(
        order,
        order.toSorted((a, b) => a - b),
      )
    }
    assert.equal(begun.length, steps.length)
  })
  await fc.assert(property, { numRuns: 300 })
})

test('without anything to wait for, work is done at once', () => {
  const lanes = new PairLanes()
  const [one, other] = resources as [Envelope['from'], Envelope['from']]
  const envelope = new Envelope(one, other, Stanza.build('message'), SERVER)
  assert.equal(
    lanes.run(envelope, () => 1),
    1,
  )
  assert.equal(
    lanes.runAside(envelope, () => 2),
    2,
  )
})
