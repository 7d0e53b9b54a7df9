/* A stand-in for NVIDIA's management library, for tests: the symbols that Reprise asks for, with the
 * signatures and layouts of nvml.h (CUDA 12). Built with `cc -shared -fPIC`.
 *
 * What it plays is read from REPRISE_FAKE_NVML at nvmlInit_v2:
 *
 *   none             the driver runs and there is no card
 *   one              one card (the default)
 *   eight            eight cards, each a little different
 *   old_driver       driver 470, which lacks the newer functions
 *   failing_queries  each second question fails, each in another way
 *   gpu_lost[:N]     after N questions (default 5) every card has fallen off the bus, until nvmlInit_v2
 *   vram_filled      another process holds nearly all of the card's memory
 *   mismatch         nvmlInit_v2: driver and library differ
 *   no_permission    nvmlInit_v2: not for this user
 *   no_driver        nvmlInit_v2: no driver
 *   lost_at_start    nvmlInit_v2: the card is lost
 *
 * Where REPRISE_FAKE_NVML_LOG names a file, each start and end is appended to it as a line.
 * -DFAKE_FEW leaves out all but the start, the end and the cards' handles; -DFAKE_NO_SHUTDOWN leaves
 * out the end, -DFAKE_NO_INIT the start. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned int ret;
enum {
    OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TOO_SMALL = 7,
    NO_DRIVER = 9, NO_FUNCTION = 13, LOST = 15, MISMATCH = 18, UNKNOWN = 999
};

typedef struct { int index; } device;

static struct { int started, cards, old, failing, filled; long calls_left; } play;
static device devices[8] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};

#define GIB (1024ULL * 1024 * 1024)

static void tell(const char *line) {
    const char *path = getenv("REPRISE_FAKE_NVML_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s\n", line);
        fclose(file);
    }
}

#ifndef FAKE_NO_INIT
ret nvmlInit_v2(void) {
    const char *asked = getenv("REPRISE_FAKE_NVML");
    const char *name = asked && *asked ? asked : "one";
    tell("start");
    memset(&play, 0, sizeof play);
    play.calls_left = -1;
    play.cards = 1;
    if (!strcmp(name, "mismatch")) return MISMATCH;
    if (!strcmp(name, "no_permission")) return NO_PERMISSION;
    if (!strcmp(name, "no_driver")) return NO_DRIVER;
    if (!strcmp(name, "lost_at_start")) return LOST;
    if (!strcmp(name, "none")) play.cards = 0;
    else if (!strcmp(name, "eight")) play.cards = 8;
    else if (!strcmp(name, "old_driver")) play.old = 1;
    else if (!strcmp(name, "failing_queries")) play.failing = 1;
    else if (!strcmp(name, "vram_filled")) play.filled = 1;
    else if (!strncmp(name, "gpu_lost", 8)) play.calls_left = name[8] == ':' ? atol(name + 9) : 5;
    else if (strcmp(name, "one")) return UNKNOWN;
    play.started = 1;
    return OK;
}
#endif

#ifndef FAKE_NO_SHUTDOWN
ret nvmlShutdown(void) {
    tell("end");
    play.started = 0;
    return OK;
}
#endif

/* Whether a question about a card may be answered. */
static ret asked(device *card) {
    if (!play.started) return UNINITIALIZED;
    if (card < devices || card >= devices + play.cards) return INVALID;
    if (play.calls_left == 0) return LOST;
    if (play.calls_left > 0) play.calls_left--;
    return OK;
}

#define ASK(card) do { ret no = asked(card); if (no != OK) return no; } while (0)

ret nvmlDeviceGetCount_v2(unsigned int *count) {
    *count = (unsigned int)play.cards;
    return play.started ? OK : UNINITIALIZED;
}

ret nvmlDeviceGetHandleByIndex_v2(unsigned int index, device **card) {
    if (index >= (unsigned int)play.cards) return INVALID;
    *card = &devices[index];
    return asked(*card);
}

#ifndef FAKE_FEW
static ret text(char *to, unsigned int length, const char *from) {
    if (strlen(from) >= length) return TOO_SMALL;
    strcpy(to, from);
    return OK;
}

ret nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    return text(version, length, play.old ? "470.256.02" : "580.65.06");
}

ret nvmlSystemGetNVMLVersion(char *version, unsigned int length) {
    return text(version, length, play.old ? "11.470.256.02" : "13.580.65.06");
}

ret nvmlSystemGetCudaDriverVersion_v2(int *version) {
    if (play.failing) return UNKNOWN;
    *version = play.old ? 11040 : 13000;
    return OK;
}

ret nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length) {
    if (pid == 4242) return text(name, length, "/home/somebody/bin/other-program");
    return NOT_FOUND;
}

ret nvmlDeviceGetName(device *card, char *name, unsigned int length) {
    char own[64];
    ASK(card);
    if (play.failing) return UNKNOWN;
    if (play.old) return text(name, length, "NVIDIA Tesla K80");
    snprintf(own, sizeof own, "NVIDIA Fake RTX %d", 4000 + 10 * card->index);
    return text(name, length, own);
}

ret nvmlDeviceGetUUID(device *card, char *uuid, unsigned int length) {
    char own[64];
    ASK(card);
    snprintf(own, sizeof own, "GPU-00000000-0000-0000-0000-%012d", card->index);
    return text(uuid, length, own);
}

typedef struct {
    char bus_id_legacy[16];
    unsigned int domain, bus, device, pci_device_id, pci_sub_system_id;
    char bus_id[32];
} pci_info;

ret nvmlDeviceGetPciInfo_v3(device *card, pci_info *pci) {
    ASK(card);
    memset(pci, 0, sizeof *pci);
    pci->bus = (unsigned int)(0x0a + card->index);
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
    snprintf(pci->bus_id_legacy, sizeof pci->bus_id_legacy, "0000:%02X:00.0", pci->bus);
    return OK;
}

typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory;

ret nvmlDeviceGetMemoryInfo_v2(device *card, memory *info) {
    ASK(card);
    if (play.old) return NO_FUNCTION;
    if (play.failing) return NO_PERMISSION;
    info->total = (unsigned long long)(24 + card->index) * GIB;
    info->reserved = GIB / 2;
    info->used = play.filled ? info->total - GIB : GIB;
    info->free = info->total - info->reserved - info->used;
    return OK;
}

ret nvmlDeviceGetCudaComputeCapability(device *card, int *major, int *minor) {
    ASK(card);
    *major = play.old ? 3 : 8;
    *minor = play.old ? 7 : 9;
    return OK;
}

ret nvmlDeviceGetTemperature(device *card, unsigned int sensor, unsigned int *celsius) {
    ASK(card);
    if (sensor != 0) return INVALID;
    if (play.failing) return NOT_SUPPORTED;
    *celsius = (unsigned int)(40 + card->index);
    return OK;
}

typedef struct { unsigned int gpu, memory; } utilisation;

ret nvmlDeviceGetUtilizationRates(device *card, utilisation *rates) {
    ASK(card);
    rates->gpu = (unsigned int)(10 + card->index);
    rates->memory = 5;
    return OK;
}

ret nvmlDeviceGetPowerUsage(device *card, unsigned int *milliwatts) {
    ASK(card);
    if (play.failing) return UNKNOWN;
    *milliwatts = 55000;
    return OK;
}

ret nvmlDeviceGetEnforcedPowerLimit(device *card, unsigned int *milliwatts) {
    ASK(card);
    *milliwatts = 450000;
    return OK;
}

typedef struct { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; } process;

static ret list(unsigned int *count, process *to, const process *from, unsigned int length) {
    unsigned int room = *count;
    *count = length;
    if (length == 0) return OK;
    if (to == NULL || room < length) return TOO_SMALL;
    memcpy(to, from, length * sizeof *from);
    return OK;
}

ret nvmlDeviceGetComputeRunningProcesses_v3(device *card, unsigned int *count, process *to) {
    process all[] = {{77, GIB / 4, ~0u, ~0u}, {4242, 23 * GIB, ~0u, ~0u}};
    ASK(card);
    if (play.old) return NO_FUNCTION;
    return list(count, to, all, play.filled ? 2 : 0);
}

ret nvmlDeviceGetGraphicsRunningProcesses_v3(device *card, unsigned int *count, process *to) {
    /* It computes too, and is listed twice; the other one is of a kind whose memory is not told. */
    process all[] = {{4242, 23 * GIB, ~0u, ~0u}, {99, ~0ULL, ~0u, ~0u}};
    ASK(card);
    if (play.old) return NO_FUNCTION;
    if (play.failing) return NOT_SUPPORTED;
    return list(count, to, all, play.filled ? 2 : 0);
}
#endif
