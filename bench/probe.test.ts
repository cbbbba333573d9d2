import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Answers, Question } from './probe.ts'

/**
 * Each signal makes three promises and keeps a list of a million numbers: far more than a young process
 * shifts about. It waits before it holds the event loop up: after a question the watch measures only from
 * its next tick on, and that is due before.
 */
const PROGRAM = `
  const kept = []
  setInterval(() => {}, 1000)
  const holdUp = () => {
    kept.push(new Array(1_000_000).fill(0.5))
    for (let i = 0; i < 3; i++) new Promise(() => {})
    const until = Date.now() + 60
    while (Date.now() < until);
    console.log('done')
  }
  process.on('SIGUSR2', () => setTimeout(holdUp, 10))
  console.log('ready')
`

test('a probed process tells its heap, its promises and how late its event loop was', async (t) => {
  const probe = new URL('./probe.ts', import.meta.url).href
  const options = ['--expose-gc', '--import', probe, '--input-type=module', '--eval', PROGRAM]
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  t.after(() => child.kill())
  const said = () => once(child.stdout as NodeJS.ReadableStream, 'data')
  const ask = async <Q extends Question>(question: Q): Promise<Answers[Q]> => {
    child.send(question)
    const [answer] = await once(child, 'message')
    return answer
  }
  await said()

  const { used } = await ask('heap')
  await ask('watch delay')
  // The first time that the timer of the watch comes it has nothing to compare with.
  while ((await ask('delay')).max === 0) await delay(1)
  await ask('count promises')
  const done = said()
  child.kill('SIGUSR2')
  await done

  assert.equal((await ask('promises')).count, 3)
  // It is noted by a timer, which comes when the event loop goes on.
  let max = 0
  for (let i = 0; i < 100 && max <= 40; i++) ({ max } = await ask('delay'))
  assert.ok(max > 40, `${max} ms`)
  const grown = (await ask('used')).bytes - used
  assert.ok(grown > 7_000_000, `${grown} octets`)
  const collected = await ask('heap')
  assert.ok(collected.took > 0)
  // A number takes eight; what was left over while the list grew is gone.
  const kept = collected.used - used
  assert.ok(kept > 7_000_000 && kept < 10_000_000, `${kept} octets`)
})
