/*
 * A Vulkan driver for tests: lavapipe that says it is a discrete card at a PCI address. Two copies of it are two cards of
 * one name, which no machine without GPUs has. Compiled by cards.ts with
 *   -DLAVAPIPE="file"  a copy of lavapipe's library for each card, since a library keeps its own state
 *   -DBUS=0x17         the number of the card's bus, which also ends its UUID
 * Everything else is lavapipe's. Offsets are those of the Vulkan 1.3 headers on a 64-bit machine.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void (*Function)(void);
typedef Function (*GetProc)(void *instance, const char *name);

enum { DISCRETE = 2, PROPERTIES_1_1 = 50, ID_PROPERTIES = 1000071004, PCI_BUS_INFO = 1000212000, INCOMPLETE = 5 };

typedef struct Chained {
  int32_t sType;
  struct Chained *pNext;
  union {
    uint8_t uuid[16];
    uint32_t pci[4];
  };
} Chained;

typedef struct {
  char name[256];
  uint32_t version;
} Extension;

static void *library;
static GetProc lavapipe;
static void *instance;

static void load(void) {
  if (library) return;
  library = dlopen(LAVAPIPE, RTLD_NOW | RTLD_LOCAL);
  if (!library) abort();
  lavapipe = (GetProc)dlsym(library, "vk_icdGetInstanceProcAddr");
}

static int createInstance(const void *info, const void *allocator, void **out) {
  int result = ((int (*)(const void *, const void *, void **))lavapipe(NULL, "vkCreateInstance"))(info, allocator, out);
  if (result == 0) instance = *out;
  return result;
}

static void disguise(char *properties) {
  *(uint32_t *)(properties + 16) = DISCRETE;
  strcpy(properties + 20, "Test Card");
}

static void getProperties(void *device, char *properties) {
  ((void (*)(void *, void *))lavapipe(instance, "vkGetPhysicalDeviceProperties"))(device, properties);
  disguise(properties);
}

static void getProperties2(void *device, Chained *properties) {
  ((void (*)(void *, void *))lavapipe(instance, "vkGetPhysicalDeviceProperties2"))(device, properties);
  disguise((char *)properties + 16);
  for (Chained *each = properties->pNext; each; each = each->pNext) {
    if (each->sType == ID_PROPERTIES || each->sType == PROPERTIES_1_1) each->uuid[15] = BUS;
    if (each->sType == PCI_BUS_INFO) memcpy(each->pci, (uint32_t[]){0, BUS, 0, 0}, sizeof each->pci);
  }
}

static int enumerateExtensions(void *device, const char *layer, uint32_t *count, Extension *list) {
  int (*enumerate)(void *, const char *, uint32_t *, Extension *) =
      (int (*)(void *, const char *, uint32_t *, Extension *))lavapipe(instance, "vkEnumerateDeviceExtensionProperties");
  uint32_t own = 0;
  enumerate(device, layer, &own, NULL);
  uint32_t room = list ? *count : 0;
  *count = own + 1;
  if (!list) return 0;
  *count = room < own ? room : own;
  enumerate(device, layer, count, list);
  if (room <= own) return INCOMPLETE;
  list[own] = (Extension){"VK_EXT_pci_bus_info", 2};
  *count = own + 1;
  return 0;
}

static Function replaced(const char *name) {
  if (!strcmp(name, "vkCreateInstance")) return (Function)createInstance;
  if (!strcmp(name, "vkGetPhysicalDeviceProperties")) return (Function)getProperties;
  if (!strncmp(name, "vkGetPhysicalDeviceProperties2", 30)) return (Function)getProperties2;
  if (!strcmp(name, "vkEnumerateDeviceExtensionProperties")) return (Function)enumerateExtensions;
  return NULL;
}

Function vk_icdGetInstanceProcAddr(void *of, const char *name) {
  load();
  Function own = replaced(name);
  return own ? own : lavapipe(of, name);
}

Function vk_icdGetPhysicalDeviceProcAddr(void *of, const char *name) {
  load();
  Function own = replaced(name);
  GetProc next = (GetProc)dlsym(library, "vk_icdGetPhysicalDeviceProcAddr");
  return own ? own : next ? next(of, name) : NULL;
}

int vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
  load();
  int (*next)(uint32_t *) = (int (*)(uint32_t *))dlsym(library, "vk_icdNegotiateLoaderICDInterfaceVersion");
  return next ? next(version) : 0;
}
