#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include "vector.h"

#define MAX_WORKERS 255
#define SPIN_NANOSECONDS                                                                            \
  100000 /* that a thread looks for what it waits for before it sleeps: to wake it takes as long */

typedef struct {
  part_function function;
  void *job;
  long num_parts;
  atomic_long next_part;
} Work;

static void run_parts(void *data) {
  Work *work = data;
  long part;
  while ((part = atomic_fetch_add(&work->next_part, 1)) < work->num_parts) work->function(work->job, part);
}

/* The pool. One job at a time holds `busy`; the others of that moment run on their callers' threads alone. */
static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_given = PTHREAD_COND_INITIALIZER, work_done = PTHREAD_COND_INITIALIZER;
static Work *current;           /* under lock */
static atomic_long work_number; /* changed under lock: of the job, so that a worker joins each at most once */
static long num_wanted;         /* under lock: workers still wanted by the job */
static atomic_long num_running; /* changed under lock: workers inside it */
static long num_workers;        /* under lock */

INLINE void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/* Returns once a number is (or is no longer) what it was asked about, or after SPIN_NANOSECONDS. */
static void spin(const atomic_long *number, long value, int until_equal) {
  struct timespec begin, now;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (long tries = 1; (atomic_load(number) == value) != until_equal; tries++) {
    pause_briefly();
    if (tries % 64) continue;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((now.tv_sec - begin.tv_sec) * 1000000000L + now.tv_nsec - begin.tv_nsec > SPIN_NANOSECONDS) return;
  }
}

static void *worker(void *unused) {
  long last = 0;
  pthread_mutex_lock(&lock);
  for (;;) {
    pthread_mutex_unlock(&lock);
    spin(&work_number, last, 0);
    pthread_mutex_lock(&lock);
    while (current == NULL || num_wanted == 0 || work_number == last) pthread_cond_wait(&work_given, &lock);
    Work *work = current;
    last = work_number;
    num_wanted--;
    num_running++;
    pthread_mutex_unlock(&lock);
    run_parts(work);
    pthread_mutex_lock(&lock);
    if (--num_running == 0) pthread_cond_signal(&work_done);
  }
  return unused;
}

/* A forked child has none of its parent's threads: it starts with an empty pool. */
static void reset_after_fork(void) {
  pthread_mutex_init(&busy, NULL);
  pthread_mutex_init(&lock, NULL);
  pthread_cond_init(&work_given, NULL);
  pthread_cond_init(&work_done, NULL);
  current = NULL;
  num_workers = num_wanted = num_running = 0;
}

static void register_fork_handler(void) { pthread_atfork(NULL, NULL, reset_after_fork); }

static void register_fork_handler_once(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, register_fork_handler);
}

static void run_on_pool(Work *work, long num_threads) {
  register_fork_handler_once();
  if (pthread_mutex_trylock(&busy) != 0) {
    run_parts(work);
    return;
  }
  pthread_mutex_lock(&lock);
  while (num_workers < num_threads - 1 && num_workers < MAX_WORKERS) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, worker, NULL) != 0) break; /* fewer threads give the same result */
    pthread_detach(thread);
    num_workers++;
  }
  current = work;
  work_number++;
  num_wanted = num_threads - 1;
  pthread_cond_broadcast(&work_given);
  pthread_mutex_unlock(&lock);
  run_parts(work);
  pthread_mutex_lock(&lock);
  current = NULL;
  pthread_mutex_unlock(&lock);
  spin(&num_running, 0, 1);
  pthread_mutex_lock(&lock);
  while (num_running > 0) pthread_cond_wait(&work_done, &lock);
  pthread_mutex_unlock(&lock);
  pthread_mutex_unlock(&busy);
}

/* Raises a counter by 1 if it is at `from`, for one of all that try; whether it was this one. */
static int counter_raise_from(Counter *counter, long from) {
  return atomic_load_explicit(&counter->value, memory_order_relaxed) == from &&
         atomic_compare_exchange_strong(&counter->value, &from, from + 1);
}

/* Returns once the counter has come to `least`; all that was written before it was raised so far is then seen. */
static void counter_wait(const Counter *counter, long least) {
  for (long tries = 0; atomic_load_explicit(&counter->value, memory_order_acquire) < least; tries++) {
    pause_briefly();
    if (tries > 2000) sched_yield(); /* the one waited for may need this core */
  }
}

void team_stage(const Meeting *meeting, long own, long stage, part_function function, void *data) {
  long n = meeting->num_parts;
  if (n == 1) {
    function(data, 0);
    return;
  }
  for (long i = 0; i < n; i++) {
    long part = (own + i) % n;
    if (!counter_raise_from(&meeting->begun[part], stage)) continue;
    function(data, part);
    atomic_fetch_add(&meeting->ended->value, 1);
  }
  counter_wait(meeting->ended, (stage + 1) * n);
}

void team_run(part_function function, void *job, long num_parts, long num_threads) {
  Work work = {function, job, num_parts, 0};
  if (num_threads > num_parts) num_threads = num_parts;
  if (num_threads <= 1)
    run_parts(&work);
  else
    run_on_pool(&work, num_threads);
}
