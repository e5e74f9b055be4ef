// The environment of every launcher, and everything that can be wrong with it.
#include "clara/parallel/launch_env.h"

#include <cstdint>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Variables = std::map<std::string, std::string>;

const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "node1"},
                             {"MASTER_PORT", "29501"}};
const Variables kSlurm = {
    {"SLURM_PROCID", "3"},         {"SLURM_STEP_NUM_TASKS", "4"},     {"SLURM_LOCALID", "1"},
    {"SLURM_STEP_NUM_NODES", "2"}, {"SLURM_STEP_NODELIST", "n[4-5]"}, {"SLURM_JOB_ID", "12"},
    {"SLURM_STEP_ID", "1"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                            {"OMPI_COMM_WORLD_SIZE", "2"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};

Variables with(Variables variables, const std::string& name, const std::string& value) {
  variables[name] = value;
  return variables;
}
Variables without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}

std::string refusal(const Variables& variables) {
  try {
    read_launch_env(variables);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(LaunchEnv, NothingMeansASingleProcess) {
  const LaunchEnv env = read_launch_env({});
  EXPECT_EQ(env.launcher, "none");
  EXPECT_EQ(env.rank, 0);
  EXPECT_EQ(env.world_size, 1);
  EXPECT_EQ(env.local_world_size, 1);
  EXPECT_FALSE(env.store_is_launchers);
}

TEST(LaunchEnv, ReadsTorchrun) {
  const LaunchEnv env = read_launch_env(kTorchrun);
  EXPECT_EQ(env.launcher, "torchrun");
  EXPECT_EQ(env.rank, 5);
  EXPECT_EQ(env.world_size, 8);
  EXPECT_EQ(env.local_rank, 1);
  EXPECT_EQ(env.local_world_size, 4);
  EXPECT_EQ(env.master_addr, "node1");
  EXPECT_EQ(env.master_port, 29501);
  EXPECT_FALSE(env.store_is_launchers);
  EXPECT_EQ(env.restart_count, 0);
}

TEST(LaunchEnv, HonoursTheAgentsStoreAndTheRestartCount) {
  Variables variables = with(kTorchrun, "TORCHELASTIC_USE_AGENT_STORE", "True");
  variables = with(variables, "TORCHELASTIC_RESTART_COUNT", "2");
  const LaunchEnv env = read_launch_env(variables);
  EXPECT_TRUE(env.store_is_launchers);
  EXPECT_EQ(env.restart_count, 2);
  EXPECT_FALSE(
      read_launch_env(with(kTorchrun, "TORCHELASTIC_USE_AGENT_STORE", "False")).store_is_launchers);
}

TEST(LaunchEnv, KnowsTheRanksThatClaraTrainStarted) {
  Variables variables = with(kTorchrun, "CLARA_LAUNCHER", "1");
  variables = with(variables, "CLARA_STORE_SOCKET", "3");
  const LaunchEnv env = read_launch_env(variables);
  EXPECT_EQ(env.launcher, "clara");
  EXPECT_EQ(env.store_socket, 3);
}

TEST(LaunchEnv, ATorchrunGroupOfOneIsAGroup) {
  const Variables one = {{"RANK", "0"},
                         {"WORLD_SIZE", "1"},
                         {"LOCAL_RANK", "0"},
                         {"MASTER_ADDR", "localhost"},
                         {"MASTER_PORT", "1234"}};
  EXPECT_EQ(read_launch_env(one).launcher, "torchrun");
  EXPECT_EQ(read_launch_env(one).local_world_size, 1);
}

TEST(LaunchEnv, AGroupOfOneThatNamesNoPlaceToMeetIsASingleProcess) {
  const LaunchEnv env = read_launch_env({{"RANK", "0"}, {"WORLD_SIZE", "1"}});
  EXPECT_EQ(env.launcher, "none");
  EXPECT_EQ(env.world_size, 1);
  EXPECT_THAT(refusal({{"RANK", "1"}, {"WORLD_SIZE", "1"}}), HasSubstr("RANK"));
}

TEST(LaunchEnv, SlurmsStepSaysHowManyRanksANodeHas) {
  Variables uneven = with(kSlurm, "SLURM_STEP_NUM_TASKS", "10");
  uneven = with(uneven, "SLURM_STEP_NUM_NODES", "3");
  uneven = with(uneven, "SLURM_STEP_TASKS_PER_NODE", "4(x2),2");
  for (const auto& [node, tasks] :
       std::map<std::string, std::int64_t>{{"0", 4}, {"1", 4}, {"2", 2}})
    EXPECT_EQ(read_launch_env(with(uneven, "SLURM_NODEID", node)).local_world_size, tasks) << node;
  // A list that says nothing: as if spread evenly.
  for (const char* list : {"", "4(x", "four"}) {
    EXPECT_EQ(read_launch_env(with(uneven, "SLURM_STEP_TASKS_PER_NODE", list)).local_world_size, 4);
  }
}

TEST(LaunchEnv, EveryMistakeIsListedAtOnce) {
  const std::string message = refusal({{"RANK", "x"}, {"MASTER_PORT", "70000"}});
  EXPECT_THAT(message, HasSubstr("RANK: expected a whole number from 0 on, found \"x\""));
  EXPECT_THAT(message, HasSubstr("WORLD_SIZE: expected a whole number from 1 on, found nothing"));
  EXPECT_THAT(message, HasSubstr("LOCAL_RANK"));
  EXPECT_THAT(message, HasSubstr("MASTER_ADDR: expected the host of rank 0, found nothing"));
  EXPECT_THAT(message, HasSubstr("MASTER_PORT: expected a whole number from 1 to 65535"));
}

TEST(LaunchEnv, RefusesPlacesOutsideOfTheGroup) {
  EXPECT_THAT(refusal(with(kTorchrun, "RANK", "8")),
              HasSubstr("RANK: expected less than WORLD_SIZE = 8, found 8"));
  EXPECT_THAT(refusal(with(kTorchrun, "LOCAL_RANK", "4")), HasSubstr("LOCAL_RANK"));
  EXPECT_THAT(refusal(with(kTorchrun, "WORLD_SIZE", "0")), HasSubstr("WORLD_SIZE"));
  EXPECT_THAT(refusal(with(kTorchrun, "LOCAL_WORLD_SIZE", "9")), HasSubstr("WORLD_SIZE"));
  EXPECT_THAT(refusal(with(kTorchrun, "RANK", "-1")), HasSubstr("RANK"));
  EXPECT_THAT(refusal(with(kTorchrun, "RANK", "1 ")), HasSubstr("RANK"));
}

TEST(LaunchEnv, ReadsAStepOfSrun) {
  const LaunchEnv env = read_launch_env(kSlurm);
  EXPECT_EQ(env.launcher, "slurm");
  EXPECT_EQ(env.rank, 3);
  EXPECT_EQ(env.world_size, 4);
  EXPECT_EQ(env.local_rank, 1);
  EXPECT_EQ(env.local_world_size, 2);
  EXPECT_EQ(env.master_addr, "n4");
  EXPECT_EQ(env.master_port, 20000 + 12 * 7 + 1);
}

TEST(LaunchEnv, GivenAddressAndPortWinOverSlurms) {
  const Variables variables = with(with(kSlurm, "MASTER_ADDR", "10.0.0.1"), "MASTER_PORT", "4000");
  EXPECT_EQ(read_launch_env(variables).master_addr, "10.0.0.1");
  EXPECT_EQ(read_launch_env(variables).master_port, 4000);
}

TEST(LaunchEnv, ABatchScriptIsNoStep) {
  const Variables batch = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "12"}};
  EXPECT_EQ(read_launch_env(batch).launcher, "none");
}

TEST(LaunchEnv, TorchrunInsideOfSrunWins) {
  Variables variables = kSlurm;
  variables.insert(kTorchrun.begin(), kTorchrun.end());
  EXPECT_EQ(read_launch_env(variables).launcher, "torchrun");
}

TEST(LaunchEnv, ReadsOpenMpiAndMpich) {
  EXPECT_EQ(read_launch_env(kOpenMpi).rank, 1);
  EXPECT_EQ(read_launch_env(kOpenMpi).launcher, "mpi");
  EXPECT_EQ(read_launch_env(kOpenMpi).master_addr, "127.0.0.1");
  EXPECT_EQ(read_launch_env(kOpenMpi).master_port, 29500);
  const LaunchEnv env = read_launch_env({{"PMI_RANK", "2"},
                                         {"PMI_SIZE", "3"},
                                         {"MPI_LOCALRANKID", "0"},
                                         {"MPI_LOCALNRANKS", "1"},
                                         {"MASTER_ADDR", "head"}});
  EXPECT_EQ(env.rank, 2);
  EXPECT_EQ(env.world_size, 3);
  EXPECT_EQ(env.master_addr, "head");
}

TEST(LaunchEnv, MpiOverSeveralNodesNeedsTheAddressOfRank0) {
  const std::string message = refusal(with(kOpenMpi, "OMPI_COMM_WORLD_SIZE", "4"));
  EXPECT_THAT(message, HasSubstr("MASTER_ADDR"));
  EXPECT_THAT(message, Not(HasSubstr("MASTER_PORT")));
}

TEST(LaunchEnv, NamesWhatMpiLeftOut) {
  EXPECT_THAT(refusal(without(kOpenMpi, "OMPI_COMM_WORLD_LOCAL_RANK")),
              HasSubstr("OMPI_COMM_WORLD_LOCAL_RANK"));
}

TEST(FirstSlurmHost, ExpandsTheFirstOfAList) {
  EXPECT_EQ(first_slurm_host("node1"), "node1");
  EXPECT_EQ(first_slurm_host("node1,node2"), "node1");
  EXPECT_EQ(first_slurm_host("node[07-09,12],gpu3"), "node07");
  EXPECT_EQ(first_slurm_host("node[3,5]"), "node3");
  EXPECT_EQ(first_slurm_host("rack[1-2]-a,b"), "rack1-a");
  EXPECT_EQ(first_slurm_host("gpu3,node[1-2]"), "gpu3");
  EXPECT_EQ(first_slurm_host(""), "");
}

}  // namespace
}  // namespace clara::testing
