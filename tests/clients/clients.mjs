// What clients in JavaScript do all day, while servers are killed: node clients.mjs PORT CLIENT SECONDS
// Ends with status 0 and one line when every answer was right and no connection was lost.
import assert from 'node:assert/strict'

const [port, name, seconds] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4])]
const until = Date.now() + seconds * 1000
let operations = 0
let longest = 0

process.on('unhandledRejection', error => { console.error(error); process.exit(1) })

/** Awaits an answer, and remembers how long that took. */
async function timed (promise) {
  const begun = Date.now()
  const answer = await promise
  operations += 1
  longest = Math.max(longest, Date.now() - begun)
  return answer
}

async function ioredis (version) {
  const { default: Redis } = await import(version)
  const open = () => {
    const redis = new Redis({ port, maxRetriesPerRequest: 0, retryStrategy: () => null })
    redis.on('error', error => { throw error })
    return redis
  }
  const [redis, listener] = [open(), open()]
  const heard = []
  listener.on('message', (channel, message) => heard.push(message))
  await listener.subscribe(`${name}:news`)
  let count = 0
  while (Date.now() < until) {
    const answers = await timed(redis.pipeline().incr(`${name}:n`).set(`${name}:k`, count).get(`${name}:k`).exec())
    count += 1
    assert.deepEqual(answers, [[null, count], [null, 'OK'], [null, String(count - 1)]])
    const done = await timed(redis.multi().hset(`${name}:h`, 'f', count).hget(`${name}:h`, 'f').exec())
    assert.equal(done[1][1], String(count))
    await timed(redis.publish(`${name}:news`, String(count)))
  }
  assert.equal(await redis.get(`${name}:n`), String(count))
  while (heard.length < count) await new Promise(resolve => setTimeout(resolve, 10))
  assert.deepEqual(heard, Array.from({ length: count }, (_, at) => String(at + 1)))
  await kinds({
    call: (...words) => redis.call(...words),
    blocking: (...words) => listener.duplicate().call(...words)
  })
  redis.disconnect()
  listener.disconnect()
}

async function nodeRedis (RESP) {
  const { createClient } = await import('redis')
  const open = async () => {
    const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP, socket: { reconnectStrategy: false } })
    client.on('error', error => { throw error })
    return client.connect()
  }
  const [client, listener, waiter] = [await open(), await open(), await open()]
  const heard = []
  await listener.subscribe(`${name}:news`, message => heard.push(message))
  let count = 0
  while (Date.now() < until) {
    const [number, , value] = await timed(Promise.all([
      client.incr(`${name}:n`), client.set(`${name}:k`, String(count)), client.get(`${name}:k`)
    ]))
    count += 1
    assert.deepEqual([Number(number), value], [count, String(count - 1)])
    const done = await timed(client.multi().hSet(`${name}:h`, 'f', String(count)).hGet(`${name}:h`, 'f').exec())
    assert.equal(done[1], String(count))
    await timed(client.publish(`${name}:news`, String(count)))
  }
  assert.equal(await client.get(`${name}:n`), String(count))
  while (heard.length < count) await new Promise(resolve => setTimeout(resolve, 10))
  assert.equal(heard.length, count)
  const text = words => words.map(String)
  await kinds({
    call: (...words) => client.sendCommand(text(words)),
    blocking: (...words) => waiter.sendCommand(text(words))
  })
  for (const one of [client, listener, waiter]) one.destroy()
}

/** Every kind of value once. */
async function kinds ({ call, blocking }) {
  const key = kind => `${name}:${kind}`
  await call('DEL', key('list'), key('set'), key('zset'))
  assert.equal(Number(await call('RPUSH', key('list'), 'a', 'b', 'c')), 3)
  assert.deepEqual(await call('LRANGE', key('list'), 0, -1), ['a', 'b', 'c'])
  assert.equal(Number(await call('SADD', key('set'), 'x', 'y')), 2)
  assert.equal(Number(await call('SISMEMBER', key('set'), 'x')), 1)
  assert.equal(Number(await call('ZADD', key('zset'), 3, 'ann', 1, 'bob')), 2)
  assert.deepEqual(await call('ZREVRANGE', key('zset'), 0, -1), ['ann', 'bob'])
  assert.equal(Number(await call('ZSCORE', key('zset'), 'ann')), 3)
  await call('SET', key('k'), 'v', 'EX', 100)
  const ttl = Number(await call('TTL', key('k')))
  assert.ok(ttl > 90 && ttl <= 100, `ttl ${ttl}`)
  const waiting = blocking('BLPOP', key('queue'), 5)
  await new Promise(resolve => setTimeout(resolve, 50))
  await call('RPUSH', key('queue'), 'job')
  assert.deepEqual(await waiting, [key('queue'), 'job'])
}

/** Libraries with scripts, and sessions. */
async function libraries () {
  const { default: Redis } = await import('ioredis6')
  const redis = new Redis({ port, maxRetriesPerRequest: 0, retryStrategy: () => null })
  redis.on('error', error => { throw error })
  const { RateLimiterRedis } = await import('rate-limiter-flexible')
  const limiter = new RateLimiterRedis({ storeClient: redis, points: 5, duration: 60, keyPrefix: `flexible${Date.now()}` })
  for (let at = 1; at <= 5; at += 1) {
    const taken = await timed(limiter.consume('ann'))
    assert.equal(taken.consumedPoints, at)
    assert.ok(taken.msBeforeNext > 50_000 && taken.msBeforeNext <= 60_000, `${taken.msBeforeNext}`)
  }
  await assert.rejects(limiter.consume('ann'), refused => refused.consumedPoints === 6)

  const { RedisStore } = await import('rate-limit-redis')
  const store = new RedisStore({ sendCommand: (...words) => redis.call(...words), prefix: `rlr${Date.now()}` })
  await store.init({ windowMs: 60_000 })
  for (let at = 1; at <= 3; at += 1) assert.equal((await timed(store.increment('ann'))).totalHits, at)
  assert.equal((await store.get('ann')).totalHits, 3)

  const { default: FastifyStore } = await import('@fastify/rate-limit/store/RedisStore.js')
  for (const grows of [false, true]) {
    const fastify = new FastifyStore(grows, false, redis, `fastify${grows}${Date.now()}`)
    for (let at = 1; at <= 4; at += 1) {
      const counted = await new Promise((resolve, reject) =>
        fastify.incr('ann', (error, result) => error ? reject(error) : resolve(result), 60_000, 2))
      assert.equal(counted.current, at)
      assert.ok(counted.ttl > 50_000 && counted.ttl <= 60_000, `${counted.ttl}`)
    }
  }

  const { default: Redlock } = await import('redlock')
  const redlock = new Redlock([redis], { retryCount: 0 })
  const locks = [`lock:a${Date.now()}`, `lock:b${Date.now()}`]
  const lock = await timed(redlock.lock(locks, 10_000))
  await assert.rejects(redlock.lock(locks[1], 10_000))
  await timed(lock.extend(20_000))
  await timed(lock.unlock())
  await (await redlock.lock(locks[0], 1_000)).unlock()

  await assert.rejects(redis.eval('return 1', 0), /runs no Lua/)
  redis.disconnect()

  const { createClient } = await import('redis')
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect()
  const [{ default: session }, { RedisStore: SessionStore }] = [await import('express-session'), await import('connect-redis')]
  assert.ok(session.Store)
  const sessions = new SessionStore({ client, prefix: `sess${Date.now()}:` })
  const cookie = { originalMaxAge: 60_000 }
  await new Promise((resolve, reject) => sessions.set('s1', { cart: [1, 2], cookie }, error => error ? reject(error) : resolve()))
  const read = await new Promise((resolve, reject) => sessions.get('s1', (error, data) => error ? reject(error) : resolve(data)))
  assert.deepEqual(read.cart, [1, 2])
  const ids = await new Promise((resolve, reject) => sessions.ids((error, ids) => error ? reject(error) : resolve(ids)))
  assert.deepEqual(ids, ['s1'])
  client.destroy()
}

const runs = {
  ioredis5: () => ioredis('ioredis5'),
  ioredis6: () => ioredis('ioredis6'),
  'node-redis': () => nodeRedis(3),
  'node-redis-2': () => nodeRedis(2),
  libraries
}
await runs[name]()
console.log(`${name}: ${operations} operations, the longest ${longest} ms`)
process.exit(0)
