import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isTrue } from './xml-schema.ts'

test('true is written in two ways, with white space around it', () => {
  for (const text of ['true', '1', ' true\n']) assert.ok(isTrue(text))
  for (const text of [undefined, 'false', '0', 'yes', 'True', '']) assert.ok(!isTrue(text))
})
