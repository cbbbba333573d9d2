import assert from 'node:assert/strict'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import { readSecret } from './secret-input.ts'

function terminal() {
  const input = Object.assign(new PassThrough(), { isTTY: true })
  const output = new PassThrough()
  output.setEncoding('utf8')
  return { input, output }
}

test('from a pipe: everything, but for the last line end', async () => {
  const cases: [string, string][] = [
    ['hunter2\n', 'hunter2'],
    ['hunter2\r\n', 'hunter2'],
    ['hunter2', 'hunter2'],
    [' two words \n', ' two words '],
    ['två\n', 'två'],
  ]
  for (const [given, expected] of cases) {
    const input = Readable.from([Buffer.from(given)])
    assert.equal(await readSecret('password', { input, output: new PassThrough() }), expected)
  }
})

test('an empty pipe is no secret', async () => {
  const input = Readable.from([Buffer.from('\n')])
  await assert.rejects(readSecret('password', { input, output: new PassThrough() }), {
    message: 'no password given',
  })
})

test('on a terminal: asked for twice, never shown', async () => {
  const { input, output } = terminal()
  const secret = readSecret('password', { input, output })
  input.write('hunter2\rhunter2\r')
  assert.equal(await secret, 'hunter2')
  assert.equal(output.read(), 'password: \npassword again: \n')
})

test('on a terminal: two answers that differ, an empty one, the end, Ctrl-C', async () => {
  const cases: [string, string][] = [
    ['hunter2\rhunter3\r', 'the two passwords differ'],
    ['\r', 'no password given'],
    ['hunt\x04\x03', 'no password given'],
  ]
  for (const [typed, message] of cases) {
    const { input, output } = terminal()
    const secret = readSecret('password', { input, output })
    input.write(typed)
    await assert.rejects(secret, { name: 'SecretInputError', message })
  }
})
